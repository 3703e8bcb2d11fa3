"""Alarms as episodes: flagged bars closer than a gap are one and the same event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Episodes:
    """Tells the first flagged bar of each episode. A gap longer than `gap` bars ends an episode."""

    gap: int
    _last: int | None = None

    def flag(self, bar: int) -> bool:
        """Take in a flagged bar's number; true if it starts an episode."""
        starts = self._last is None or bar - self._last > self.gap
        self._last = bar
        return starts


def first_bars(flagged: Iterable[int], gap: int) -> list[int]:
    """The first bar of each episode among `flagged`, in order."""
    episodes = Episodes(gap)
    return [int(bar) for bar in flagged if episodes.flag(int(bar))]
