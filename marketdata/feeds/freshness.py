"""Freshness: age of a feed's bars, and plausibility of its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from alphaloop.bars import Bar
from alphaloop.clock import Clock
from alphaloop.errors import InputError


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """State of a feed.

    `lag` is the time from the last bar's close to its arrival (negative where the feed's clock runs ahead of
    ours), `silent` the time since that arrival; both None before the first bar. `ahead` counts the bars
    refused because they closed in the future.
    """

    provider: str
    lag: timedelta | None
    silent: timedelta | None
    stale: bool
    ahead: int


class FreshnessMonitor:
    """Watches one provider's bars against `clock`.

    The feed is stale once it has been silent for `limit`, counted from the start of the watch. A bar that
    closes more than `skew` after now cannot have closed: its feed's clock, or ours, is wrong, and the bar is
    refused. `InputError` for a limit that is not positive or a negative skew.
    """

    def __init__(self, provider: str, limit: timedelta, skew: timedelta, clock: Clock) -> None:
        if limit <= timedelta(0) or skew < timedelta(0):
            raise InputError(
                f"feed '{provider}': limit {limit} must be positive and skew {skew} not negative"
            )
        self._provider, self._limit, self._skew, self._clock = provider, limit, skew, clock
        self._began = clock.now()
        self._last_arrival: datetime | None = None
        self._lag: timedelta | None = None
        self._ahead = 0

    def record(self, bar: Bar) -> bool:
        """Record the arrival of `bar`; return False if it cannot have closed yet."""
        now = self._clock.now()
        if bar.timestamp - now > self._skew:
            self._ahead += 1
            return False
        self._last_arrival, self._lag = now, now - bar.timestamp
        return True

    def restart(self) -> None:
        """Note that the feed was reopened: its silence counts from now."""
        self._began, self._last_arrival = self._clock.now(), None

    @property
    def stale(self) -> bool:
        """True if no believable bar arrived for `limit`."""
        return self._clock.now() - (self._last_arrival or self._began) > self._limit

    def reading(self) -> FeedStatus:
        """Return the current state of the feed."""
        silent = None if self._last_arrival is None else self._clock.now() - self._last_arrival
        return FeedStatus(self._provider, self._lag, silent, self.stale, self._ahead)
