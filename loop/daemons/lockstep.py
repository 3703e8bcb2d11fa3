"""Lockstep: a replay releases its next bar when every other part is done with this one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from alphaloop.clock import monotonic, sleep
from alphaloop.journal.positions.bar_progress import BarProgress

TELL_SECONDS = 10.0
"""Seconds after which the part that is waited for is named."""
POLL_SECONDS = 0.01


def wait_for_part(
    progress: BarProgress, part: str, as_of: datetime, tell: Callable[[str], None] = lambda line: None
) -> None:
    """Wait until `part` is done with the bar `as_of`; says for whom after ten seconds, and waits on.

    Parameters
    ----------
    progress : BarProgress
        Progress of the parts.
    part : str
        Name of the part, as `control/equities`.
    as_of : datetime
        Close of the bar, in UTC.
    tell : callable
        Called once with a line, where it takes long.
    """
    began, told = monotonic(), False
    while True:
        done = progress.of(part)
        if done is not None and done >= as_of:
            return
        if not told and monotonic() - began >= TELL_SECONDS:
            told = True
            tell(f"waiting for '{part}' to end the bar of {as_of.isoformat()}")
        sleep(POLL_SECONDS)
