"""`alphaloop features stream`: store bars as they close and publish their features, as a daemon."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import PagePort, parse_time

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings
    from loop.daemons.daemon_wiring import ReplaySpan

IDLE_SECONDS = 0.02
Replay = Annotated[
    str, typer.Option(help="FROM:TO, two days of data.source to replay as if they were live now.")
]
Speed = Annotated[
    float, typer.Option(min=0, help="With --replay: multiple of the original pace; 0 is at once.")
]
Lockstep = Annotated[
    bool, typer.Option("--lockstep", help="With --replay: wait until executor and control have done a bar.")
]
Frequency = Annotated[str, typer.Option(help="Length of a live bar: 1m, 5m, 15m, 1h, 4h, 1d or 1w.")]


def register(parent: typer.Typer) -> None:
    """Add the verb."""
    parent.command("stream")(stream_features)


def stream_features(
    replay: Replay = "",
    speed: Speed = 0,
    lockstep: Lockstep = False,
    frequency: Frequency = "1m",
    port: PagePort = 0,
) -> None:
    """Store each bar that closes and publish its features, until SIGTERM or Ctrl-C, or a replay's end.

    It alone has a source and a clock; `alphaloop trade --live` and the others follow the bars that it stored.
    A second instance waits as a standby.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.journal.opening import open_journal
    from alphaloop.journal.roles import streamer_role
    from cli import output
    from loop import workspace
    from loop.daemons.daemon_wiring import opened_live, opened_replay
    from loop.daemons.frame import DaemonPages, run_daemon
    from marketdata.configured_source import chosen_identity

    chosen = workspace.writable_settings()
    span = _span(chosen, replay, speed, lockstep=lockstep)
    if span is None:
        # A source without a stream is refused before anything is opened.
        workspace.live_source(chosen, frequency)
    registry = workspace.open_registry(chosen)
    with open_journal(chosen, SystemClock()) as journal:
        run_daemon(
            journal,
            streamer_role(chosen_identity(chosen)),
            lambda role: (
                opened_live(chosen, journal, registry, role, frequency, output.print_line)
                if span is None
                else opened_replay(chosen, journal, registry, role, span, output.print_line)
            ),
            pages=DaemonPages(port=port),
            idle_seconds=IDLE_SECONDS,
            announce=output.print_line,
        )
    output.print_error("ended; the role was given back")


def _span(settings: Settings, replay: str, speed: float, *, lockstep: bool) -> ReplaySpan | None:
    """Return what to replay; None for live bars.

    Raises `InputError` for options that contradict each other, and for malformed days.
    """
    from alphaloop.errors import InputError
    from alphaloop.journal.positions.source_heads import Pace
    from loop import workspace
    from loop.daemons.daemon_wiring import ReplaySpan

    if not replay:
        if lockstep or speed:
            given = "--lockstep" if lockstep else f"--speed {speed:g}"
            raise InputError(f"{given} is for a replay; name its days with --replay FROM:TO, or leave it out")
        return None
    if lockstep and speed:
        raise InputError(f"--lockstep goes on when every part is done, and --speed {speed:g} waits for none")
    days = split_days(replay, workspace.workspace_source(settings).calendar)
    return ReplaySpan(days, speed or math.inf, Pace.LOCKSTEP if lockstep else Pace.SPEED)


def split_days(replay: str, calendar: str) -> tuple[datetime, datetime]:
    """Parse `FROM:TO` into its first and last moment; raises `InputError` for any other text."""
    from alphaloop.errors import InputError

    first_day, sign, last_day = replay.partition(":")
    if not (sign and first_day and last_day):
        raise InputError(f"--replay '{replay}' is not of the form FROM:TO, as 2019-01-02:2019-03-29")
    first = parse_time(first_day, "--replay", calendar)
    last = parse_time(last_day, "--replay", calendar, end_of_day=True)
    if first > last:
        raise InputError(f"--replay '{replay}' ends before it begins; write the earlier day first")
    return first, last
