"""Clock of the parts that have no source: they take time from the bars."""

from __future__ import annotations

from datetime import datetime

from alphaloop.clock import ReplayClock, SystemClock
from alphaloop.journal.positions.source_heads import Pace


class BarClock:
    """The machine's clock while bars are live; in a replay, the close of the last bar.

    So a bar that was missed is known by its age in a live market, and a replay of past bars is as fresh as it
    was then.
    """

    def __init__(self) -> None:
        self._system = SystemClock()
        self._replayed: ReplayClock | None = None

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return (self._replayed or self._system).now()

    def follow(self, bar: datetime, pace: Pace) -> None:
        """Take the time from a bar that closed at `bar` and came at `pace`."""
        if pace is Pace.LIVE:
            self._replayed = None
        elif self._replayed is None:
            self._replayed = ReplayClock(bar)
        elif bar > self._replayed.now():
            self._replayed.advance(bar)
