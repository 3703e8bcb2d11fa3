"""Failover policy: how long to wait, when to switch, when to switch back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alphaloop.errors import InputError, VendorError
from marketdata.connectors.closed_bars import always_open, period_of
from marketdata.connectors.retry import RetryPolicy
from marketdata.feeds.consensus import Consensus

# A request that begins this long ago is not a stream's gap but a history of many pages.
MIN_LONG_HISTORY = timedelta(days=7)


def vendor_retry() -> RetryPolicy:
    """Return a policy of three attempts within ten seconds, on failures of the vendor alone."""
    return RetryPolicy(on=(VendorError,), attempts=3, base=0.2, cap=2.0, deadline=10.0)


@dataclass(frozen=True, kw_only=True)
class FailoverPolicy:
    """Rules for combining several providers into one.

    `deadline` is the wait for the other providers after the first one's bar, in seconds: it must be shorter
    than a bar, so that a switch takes no longer than one. `healthy` is the number of timestamps in a row in
    good health after which a preferred provider is active again. A stream that lags `stale_bars` bars behind
    the others is reopened, and the feed is stale once all have been silent for as long. A bar that closes
    more than `skew` after now is refused. `consensus` compares providers; None believes the active one.
    `retry` bounds each provider's `history`, and spaces the opening of streams; a history that begins
    `MIN_LONG_HISTORY` ago or earlier may take `long_history_seconds`. `period` is the length of a bar where
    the frequency does not say it, and `expects(start, end)` returns False if no bar could have closed in
    between (a session's night holds none). `InputError` for a number that makes no sense.
    """

    deadline: float = 2.0
    healthy: int = 5
    stale_bars: int = 3
    skew: timedelta = timedelta(seconds=5)
    consensus: Consensus | None = field(default_factory=Consensus)
    retry: RetryPolicy = field(default_factory=vendor_retry)
    long_history_seconds: float = 600.0
    period: timedelta | None = None
    expects: Callable[[datetime, datetime], bool] = always_open

    def __post_init__(self) -> None:
        if not self.deadline > 0 or self.healthy < 1 or self.stale_bars < 1 or self.skew < timedelta(0):
            raise InputError(
                f"deadline {self.deadline}, healthy {self.healthy}, stale_bars {self.stale_bars} must be "
                f"positive and skew {self.skew} not negative"
            )

    def length(self, frequency: str) -> timedelta:
        """Return the length of a bar; `InputError` where the deadline is not shorter."""
        period = self.period or period_of(frequency)
        if timedelta(seconds=self.deadline) >= period:
            raise InputError(
                f"the deadline of {self.deadline:g} s is not shorter than a bar of {period}; shorten it, "
                "or a switch would take longer than one bar"
            )
        return period
