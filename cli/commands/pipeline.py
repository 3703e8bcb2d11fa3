"""`alphaloop pipeline`: list pipelines, compile them for a cluster, or run them on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import AsJson, PagePort

app = typer.Typer(help="Pipelines: list, compile, run here, serve requests.", no_args_is_help=True)

MAX_RUN_SECONDS = 6 * 3_600.0
"""Seconds without an end of a run after which the runner counts as hanging."""
PipelineName = Annotated[str, typer.Argument(help="The pipeline's name.")]
Target = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; NAME.yaml by default.")]
ScheduledPipeline = Annotated[str, typer.Argument(help="The pipeline's name; by default, list all.")]
CronTimes = Annotated[str, typer.Option("--cron", help="Times in UTC, as '0 30 21 * * 1-5'.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Disable = Annotated[bool, typer.Option("--disable", help="Let it start no more runs.")]
Delete = Annotated[bool, typer.Option("--delete", help="Delete it.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="Arguments of the pipeline, as name=value.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="pipeline")


@app.command("list")
def list_pipelines(json: AsJson = False) -> None:
    """List the pipelines."""
    from cli import output
    from cli.next_steps import next_step
    from pipelines import catalogue

    names = catalogue.pipeline_names()
    output.print_result(
        names,
        json,
        lambda: output.print_table(("pipeline",), [[name] for name in names]),
        next_step("pipeline list"),
    )


@app.command("compile")
def compile_pipeline(name: PipelineName, to: Target = None, json: AsJson = False) -> None:
    """Write a pipeline as Kubeflow's YAML, with the image, resources and user of the settings."""
    from alphaloop.settings import settings
    from cli import output
    from pipelines import catalogue

    path = to or Path(f"{name}.yaml")
    catalogue.write_pipeline_yaml(name, path, settings.load_settings().pipelines)
    output.print_result(
        {"pipeline": name, "path": path}, json, lambda: output.print_line(f"{name} is written to {path}")
    )


@app.command()
def run(name: PipelineName, arguments: Arguments = None, json: AsJson = False) -> None:
    """Run a pipeline on this machine, each step in a process of its own."""
    from cli import formatting, output
    from cli.next_steps import next_step
    from loop import workspace
    from pipelines import local_runner

    values = _named(arguments)
    with output.show_progress(f"running pipeline {name}"):
        result = local_runner.run_pipeline(name, workspace.writable_settings(), **values)
    output.print_result(
        result,
        json,
        lambda: output.print_facts(formatting.flatten_facts(result)),
        next_step("pipeline run"),
    )


@app.command("serve")
def serve_requests(port: PagePort = 0) -> None:
    """Run each retraining that is asked for, one after the other, until SIGTERM or Ctrl-C.

    A second instance waits as a standby.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.journal.opening import open_journal
    from alphaloop.journal.roles import RUNNER_ROLE
    from cli import output
    from loop import workspace
    from loop.daemons.frame import DaemonPages, run_daemon
    from loop.daemons.runner import RunnerDaemon

    chosen = workspace.writable_settings()
    with open_journal(chosen, SystemClock()) as journal:
        run_daemon(
            journal,
            RUNNER_ROLE,
            lambda role: RunnerDaemon(chosen, journal, output.print_line, role),
            pages=DaemonPages(port=port),
            # A retraining is one turn.
            hang_seconds=MAX_RUN_SECONDS,
            announce=output.print_line,
        )
    output.print_error("ended; the role was given back")


@app.command("schedule")
def schedule_pipeline(
    name: ScheduledPipeline = "",
    arguments: Arguments = None,
    cron: CronTimes = "",
    dry_run: DryRun = False,
    disable: Disable = False,
    delete: Delete = False,
    json: AsJson = False,
) -> None:
    """Let Kubeflow run a pipeline at times; without a name, list what is scheduled.

    What is scheduled already is replaced without a gap, and the same again changes nothing.
    """
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from cli import output
    from pipelines import catalogue
    from pipelines.kubeflow.schedule import PipelineSchedule

    chosen = settings.load_settings()
    if not name:
        rows = [row for one in catalogue.pipeline_names() for row in PipelineSchedule(chosen, one).show()]
        cells = [[str(value) for value in row.values()] for row in rows]
        output.print_result(
            rows, json, lambda: output.print_table(("pipeline", "id", "cron", "enabled"), cells)
        )
        return
    planned = PipelineSchedule(chosen, catalogue.present_name(name))
    if bool(cron) + disable + delete != 1:
        raise InputError(f"pipeline schedule {name}: give one of --cron, --disable and --delete")
    if disable:
        done = [f"disable {one}" for one in planned.disable()]
    elif delete:
        done = [f"delete {one}" for one in planned.delete()]
    else:
        done = planned.set(cron, _named(arguments), dry_run=dry_run)
    words = f"{'would do' if dry_run else 'done'}: {', '.join(done) or 'nothing, it is so already'}"
    output.print_result(
        {"pipeline": planned.pipeline, "done": done, "dry_run": dry_run},
        json,
        lambda: output.print_line(words),
    )


def _named(arguments: list[str] | None) -> dict[str, str]:
    """Return arguments of the form name=value by their names."""
    from alphaloop.errors import InputError

    values = {}
    for argument in arguments or ():
        key, sign, value = argument.partition("=")
        if not sign or not key.isidentifier():
            raise InputError(f"argument '{argument}' is not of the form name=value")
        values[key] = value
    return values
