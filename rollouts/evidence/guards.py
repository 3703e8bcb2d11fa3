"""Guards on the challenger's service: stale features and slow answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from serving.log.prediction_log import PredictionRow

LATENCY_MULTIPLE = 2.0
"""Multiple of the champion's p99 latency that a challenger must exceed, besides the limit."""
MIN_ANSWERS = 100
"""Answers below which a 99th percentile is not informative."""


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
        self._latencies += [row.latency_ms for row in answers]
        self._champions += [row.latency_ms for row in champion]
        return self._stale(_oldest(as_of, answers), _oldest(as_of, champion)) or self._slow()

    def _stale(self, oldest: float, champion: float) -> str:
        if oldest <= max(self.max_staleness_seconds, champion):
            return ""
        return (
            f"answered with features {oldest:,.0f} s older than the bar "
            f"(rollout.max_staleness_seconds is {self.max_staleness_seconds:g})"
        )

    def _slow(self) -> str:
        if len(self._latencies) < MIN_ANSWERS:
            return ""
        p99 = _p99(self._latencies)
        if p99 <= max(self.max_latency_ms, LATENCY_MULTIPLE * _p99(self._champions)):
            return ""
        return (
            f"p99 of {len(self._latencies)} answers is {p99:.0f} ms "
            f"(rollout.max_latency_ms is {self.max_latency_ms:g})"
        )


def _oldest(as_of: datetime, rows: Sequence[PredictionRow]) -> float:
    """Return the seconds from the oldest features of `rows` to the bar."""
    known = [row.feature_timestamp for row in rows if row.feature_timestamp is not None]
    return max(((as_of - moment).total_seconds() for moment in known), default=0.0)


def _p99(latencies: Sequence[float]) -> float:
    return float(np.quantile(latencies, 0.99)) if latencies else 0.0
