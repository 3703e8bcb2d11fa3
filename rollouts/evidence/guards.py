"""Guards on the challenger's service: stale features and slow answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from serving.log.prediction_log import PredictionRow

LATENCY_MULTIPLE = 2.0
"""Multiple of the champion's p99 latency that a challenger must exceed, besides the limit."""
MIN_ANSWERS = 100
"""Answers below which a 99th percentile is not informative."""
SLOW_SHARE = 0.01
"""Share of answers beyond the 99th percentile."""
MAX_CHANCE = 1e-5
"""Chance below which so many slow answers are a fault: three of the first five, four of the first 14."""


@dataclass(slots=True)
class Guards:
    """Limits on the age of features and the latency of one rollout's challenger.

    Latencies are kept for the whole rollout. A slow machine or an old store that affects the champion as
    well is not held against the challenger.
    """

    max_latency_ms: float
    max_staleness_seconds: float
    _latencies: list[float] = field(default_factory=list)
    _champions: list[float] = field(default_factory=list)

    def check(
        self, as_of: datetime, answers: Sequence[PredictionRow], champion: Sequence[PredictionRow] = ()
    ) -> str:
        """Describe the fault of the challenger's `answers` at the bar `as_of`.

        Returns an empty text if there is none.
        """
        self._latencies += _measured(answers)
        self._champions += _measured(champion)
        return self._stale(_oldest(as_of, answers), _oldest(as_of, champion)) or self._slow()

    def _stale(self, oldest: float, champion: float) -> str:
        if oldest <= max(self.max_staleness_seconds, champion):
            return ""
        return (
            f"answered with features {oldest:,.0f} s older than the bar "
            f"(rollout.max_staleness_seconds is {self.max_staleness_seconds:g})"
        )

    def _slow(self) -> str:
        limit = max(self.max_latency_ms, LATENCY_MULTIPLE * _p99(self._champions))
        count, setting = len(self._latencies), f"(rollout.max_latency_ms is {self.max_latency_ms:g})"
        if count >= MIN_ANSWERS:
            p99 = _p99(self._latencies)
            return f"p99 of {count} answers is {p99:.0f} ms {setting}" if p99 > limit else ""
        slow = sum(latency > limit for latency in self._latencies)
        if slow and chance_of_slow(slow, count) <= MAX_CHANCE:
            return f"{slow} of {count} answers took longer than {limit:.0f} ms {setting}"
        return ""


def chance_of_slow(slow: int, count: int, share: float = SLOW_SHARE) -> float:
    """Compute the chance of at least `slow` of `count` answers, where each is slow with chance `share`.

    Parameters
    ----------
    slow, count : int
        Numbers of slow answers and of all.
    share : float
        Chance of one slow answer, from 0 to 1.

    Returns
    -------
    float
        Upper tail of the binomial distribution.

    Examples
    --------
    >>> round(chance_of_slow(2, 2), 6)
    0.0001
    """
    return sum(
        math.comb(count, number) * share**number * (1 - share) ** (count - number)
        for number in range(slow, count + 1)
    )


def _oldest(as_of: datetime, rows: Sequence[PredictionRow]) -> float:
    """Return the seconds from the oldest features of `rows` to the bar."""
    known = [row.feature_timestamp for row in rows if row.feature_timestamp is not None]
    return max(((as_of - moment).total_seconds() for moment in known), default=0.0)


def _measured(rows: Sequence[PredictionRow]) -> list[float]:
    """Return the latencies of `rows`; one that control scored again has none."""
    return [row.latency_ms for row in rows if math.isfinite(row.latency_ms)]


def _p99(latencies: Sequence[float]) -> float:
    return float(np.quantile(latencies, 0.99)) if latencies else 0.0
