"""Alarms as episodes: flagged bars closer than a gap are one and the same event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

MIN_BARS_FOR_SPACING = 10
"""Bars from which the mean time between bars is estimated."""


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


@dataclass(slots=True)
class BarTimes:
    """The times of the bars that were seen, to count how many lie after a moment."""

    _times: list[datetime] = field(default_factory=list)

    def take(self, as_of: datetime) -> None:
        """Take in a bar; one that is not later than the last is known already."""
        if not self._times or as_of > self._times[-1]:
            self._times.append(as_of)

    @property
    def spacing(self) -> float | None:
        """Mean seconds from bar to bar; None after few bars."""
        if len(self._times) < MIN_BARS_FOR_SPACING:
            return None
        return (self._times[-1] - self._times[0]).total_seconds() / (len(self._times) - 1)

    def since(self, moment: datetime, spacing: float | None = None) -> int | None:
        """Bars after `moment` up to the last that was seen.

        Those before the first one seen are estimated from `spacing`, by default the mean one of the bars
        seen; None while neither is known.
        """
        if not self._times:
            return None
        seen = len(self._times) - bisect_right(self._times, moment)
        if moment >= self._times[0]:
            return seen
        usual = spacing or self.spacing
        if usual is None:
            return None
        return seen - 1 + max(round((self._times[0] - moment).total_seconds() / usual), 1)


@dataclass(slots=True)
class DatedEpisodes:
    """Episodes of bars that are known by their time; `last` may be a flagged bar of an earlier run."""

    gap: int
    last: datetime | None = None

    def flag(self, as_of: datetime, times: BarTimes) -> bool:
        """Take in a flagged bar, the last of `times`; true if it starts an episode.

        A bar that is not after `last` was flagged before, and starts none.
        """
        if self.last is not None and as_of <= self.last:
            return False
        passed = None if self.last is None else times.since(self.last)
        starts = self.last is None or (passed is not None and passed > self.gap)
        self.last = as_of
        return starts


@dataclass(slots=True)
class NamedEpisodes(DatedEpisodes):
    """Episodes of names that are flagged together; a name that is new in one begins another."""

    names: set[str] = field(default_factory=set)

    def flag_names(self, as_of: datetime, names: tuple[str, ...], times: BarTimes) -> bool:
        """Take in the names flagged at a bar, the last of `times`; true if that begins an episode."""
        if not names or (self.last is not None and as_of <= self.last):
            return False
        known = set() if self.flag(as_of, times) else self.names
        self.names = known | set(names)
        return self.names != known


def first_bars(flagged: Iterable[int], gap: int) -> list[int]:
    """The first bar of each episode among `flagged`, in order."""
    episodes = Episodes(gap)
    return [int(bar) for bar in flagged if episodes.flag(int(bar))]
