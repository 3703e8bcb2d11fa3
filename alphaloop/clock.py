"""The only place that reads the time. Everything else is given a `Clock`.

All times are aware and in UTC.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; live, or that of a replay."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ReplayClock:
    """A clock that stands where it was put. It never runs backwards."""

    def __init__(self, at: datetime) -> None:
        self._at = as_utc(at)

    def now(self) -> datetime:
        return self._at

    def advance(self, to: datetime) -> None:
        """Move to `to`; raises `ValueError` if that lies in the past."""
        to = as_utc(to)
        if to < self._at:
            raise ValueError(f"a replay clock cannot go back from {self._at} to {to}")
        self._at = to


def as_utc(moment: datetime) -> datetime:
    """`moment` in UTC; raises `ValueError` for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give times in UTC")
    return moment.astimezone(UTC)


# Itself and not a function around it: a request is timed at a dozen places.
monotonic: Callable[[], float] = time.perf_counter
"""Seconds from an arbitrary origin, for measuring durations."""


def sleep(seconds: float) -> None:
    """Wait on the machine's clock."""
    time.sleep(seconds)
