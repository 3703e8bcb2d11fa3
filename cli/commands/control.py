"""`alphaloop control`: watch a model's rollout and drift as a daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import PagePort

app = typer.Typer(
    help="Control: evidence, drift and candidates of the served model, as a daemon.", no_args_is_help=True
)

LOCKSTEP_IDLE_SECONDS, IDLE_SECONDS = 0.05, 1.0
Lockstep = Annotated[
    bool, typer.Option("--lockstep", help="End each bar only after the retraining that it asked for.")
]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="control")


@app.command("run")
def run_control(port: PagePort = 0, lockstep: Lockstep = False) -> None:
    """Judge each bar that the book decides, and roll out what retraining proposes, until SIGTERM or Ctrl-C.

    A second instance waits as a standby. While it runs, `alphaloop trade` leaves judging to it.
    """
    from functools import partial

    from alphaloop.clock import SystemClock
    from alphaloop.journal.opening import open_journal
    from alphaloop.journal.roles import control_role
    from cli import output
    from loop import workspace
    from loop.daemons.control import opened_control
    from loop.daemons.frame import DaemonPages, run_daemon
    from rollouts.operations import open_rollout_registry

    chosen = workspace.writable_settings()
    open_rollout_registry(chosen)
    with open_journal(chosen, SystemClock()) as journal:
        run_daemon(
            journal,
            control_role(chosen.serving.model),
            lambda role: opened_control(chosen, journal, role, output.print_line, lockstep=lockstep),
            pages=DaemonPages(port=port),
            idle_seconds=LOCKSTEP_IDLE_SECONDS if lockstep else IDLE_SECONDS,
            announce=partial(output.print_line),
        )
    output.print_error("ended; the role was given back")
