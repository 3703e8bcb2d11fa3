"""Clocks: the only module that reads the time. All times are aware and in UTC.

Everything else is given a `Clock`, so that a replay and live trading run the same code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the current time: the machine's, or that of a replay."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ReplayClock:
    """A clock that only moves when it is advanced, and never backwards.

    Parameters
    ----------
    at : datetime
        Start, with a time zone.

    Raises
    ------
    ValueError
        For a start without a time zone.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> clock = ReplayClock(datetime(2020, 3, 16, tzinfo=UTC))
    >>> clock.advance(datetime(2020, 3, 17, tzinfo=UTC))
    >>> clock.now().isoformat()
    '2020-03-17T00:00:00+00:00'
    """

    def __init__(self, at: datetime) -> None:
        self._at = as_utc(at)

    def now(self) -> datetime:
        return self._at

    def advance(self, to: datetime) -> None:
        """Move the clock to `to`; raise `ValueError` if that lies in the past."""
        to = as_utc(to)
        if to < self._at:
            raise ValueError(f"a replay clock cannot go back from {self._at} to {to}")
        self._at = to


def as_utc(moment: datetime) -> datetime:
    """Convert `moment` to UTC; raise `ValueError` if it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give times in UTC")
    return moment.astimezone(UTC)


# The function itself and not a wrapper: each request is timed at a dozen places.
monotonic: Callable[[], float] = time.perf_counter
"""Seconds from an arbitrary origin, for measuring durations."""


def boot_time() -> float:
    """Return seconds since the machine started, those in which it slept included.

    It compares moments on one machine only; where the system has no such clock, `monotonic` takes its place.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait on the machine's clock."""
    time.sleep(seconds)
