"""Episodes of alarms: flagged bars closer than a gap are one event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

MIN_BARS_FOR_SPACING = 10
"""Minimum number of bars from which the mean time between bars is estimated."""


@dataclass(slots=True)
class Episodes:
    """Detector of the first flagged bar of each episode.

    A gap longer than `gap` bars ends an episode.
    """

    gap: int
    _last: int | None = None

    def flag(self, bar: int) -> bool:
        """Add a flagged bar's number; True if it starts an episode."""
        starts = self._last is None or bar - self._last > self.gap
        self._last = bar
        return starts


@dataclass(slots=True)
class BarTimes:
    """Times of the observed bars, to count the bars after a moment.

    Of more than `kept` bars the oldest are forgotten; 0 keeps all.
    """

    kept: int = 0
    _times: list[datetime] = field(default_factory=list)

    def add(self, as_of: datetime) -> None:
        """Add a bar.

        A bar that is not later than the last is ignored.
        """
        if not self._times or as_of > self._times[-1]:
            self._times.append(as_of)
        if self.kept and len(self._times) >= 2 * self.kept:
            del self._times[: -self.kept]

    @property
    def spacing(self) -> float | None:
        """Mean seconds from bar to bar; None for fewer than 10 bars."""
        if len(self._times) < MIN_BARS_FOR_SPACING:
            return None
        return (self._times[-1] - self._times[0]).total_seconds() / (len(self._times) - 1)

    def since(self, moment: datetime, spacing: float | None = None) -> int | None:
        """Count the bars after `moment` up to the last observed bar.

        Bars before the first observed one are estimated from `spacing` in seconds, by default the mean of
        the observed bars; None while neither is known.
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
    """Episodes of bars given by their times.

    `last` may be a flagged bar of an earlier run.
    """

    gap: int
    last: datetime | None = None

    def flag(self, as_of: datetime, times: BarTimes) -> bool:
        """Add a flagged bar, the last of `times`.

        Returns True if it starts an episode.

        A bar that is not after `last` was flagged before, and starts no episode.
        """
        if self.last is not None and as_of <= self.last:
            return False
        passed = None if self.last is None else times.since(self.last)
        starts = self.last is None or (passed is not None and passed > self.gap)
        self.last = as_of
        return starts


@dataclass(slots=True)
class NamedEpisodes(DatedEpisodes):
    """Episodes of names that are flagged together; a new name begins another episode."""

    names: set[str] = field(default_factory=set)

    def flag_names(self, as_of: datetime, names: tuple[str, ...], times: BarTimes) -> bool:
        """Add the names flagged at a bar, the last of `times`.

        Returns True if they begin an episode.
        """
        if not names or (self.last is not None and as_of <= self.last):
            return False
        known = set() if self.flag(as_of, times) else self.names
        self.names = known | set(names)
        return self.names != known


def first_bars(flagged: Iterable[int], gap: int) -> list[int]:
    """Return the first bar of each episode among the ascending bar numbers `flagged`."""
    episodes = Episodes(gap)
    return [int(bar) for bar in flagged if episodes.flag(int(bar))]
