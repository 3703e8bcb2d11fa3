"""Freshness: how old what a feed tells is, and whether its clock can be ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from alphaloop.bars import Bar
from alphaloop.clock import Clock
from alphaloop.errors import InputError


@dataclass(frozen=True, slots=True)
class Reading:
    """A feed as it stands: `lag` from the last bar's close to its arrival (negative where the feed's clock
    runs ahead of ours), `silent` the time since; None before the first bar. `ahead` counts the bars refused.
    """

    provider: str
    lag: timedelta | None
    silent: timedelta | None
    stale: bool
    ahead: int


class Freshness:
    """Watches one provider's bars against `clock`.

    The feed is stale once it has been silent for `limit`, counted from when the watch began. A bar that
    closes more than `skew` after now cannot have closed: its feed's clock, or ours, is wrong, and it is
    not believed. `InputError` for a limit that is not positive or a negative skew.
    """

    def __init__(self, provider: str, limit: timedelta, skew: timedelta, clock: Clock) -> None:
        if limit <= timedelta(0) or skew < timedelta(0):
            raise InputError(
                f"feed '{provider}': limit {limit} must be positive and skew {skew} not negative"
            )
        self._provider, self._limit, self._skew, self._clock = provider, limit, skew, clock
        self._began = clock.now()
        self._heard: datetime | None = None
        self._lag: timedelta | None = None
        self._ahead = 0

    def hear(self, bar: Bar) -> bool:
        """Note that `bar` has come; whether it can have closed already."""
        now = self._clock.now()
        if bar.timestamp - now > self._skew:
            self._ahead += 1
            return False
        self._heard, self._lag = now, now - bar.timestamp
        return True

    def reopened(self) -> None:
        """The feed was opened anew: its silence counts from now."""
        self._began, self._heard = self._clock.now(), None

    @property
    def stale(self) -> bool:
        """Whether nothing believable came for `limit`."""
        return self._clock.now() - (self._heard or self._began) > self._limit

    def reading(self) -> Reading:
        """How the feed stands now."""
        silent = None if self._heard is None else self._clock.now() - self._heard
        return Reading(self._provider, self._lag, silent, self.stale, self._ahead)
