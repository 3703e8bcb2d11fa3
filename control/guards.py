"""Guards: what needs no market to be wrong. Failed answers, slow answers, old features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from serving.prediction_log import PredictionRow

FEWEST_ANSWERS = 100
"""Answers before a 99th percentile says anything."""


@dataclass(slots=True)
class Guards:
    """Limits on a challenger's answers, from the settings; it remembers the latencies of one rollout."""

    max_latency_ms: float
    max_staleness_seconds: float
    _latencies: list[float] = field(default_factory=list)

    def look(self, as_of: datetime, answers: Sequence[PredictionRow]) -> str:
        """What is wrong with the challenger's `answers` for the bar `as_of`; empty if nothing is."""
        self._latencies += [row.latency_ms for row in answers]
        return self._stale(as_of, answers) or self._slow()

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of latency so far; NaN before there are enough answers."""
        enough = len(self._latencies) >= FEWEST_ANSWERS
        return float(np.quantile(self._latencies, 0.99)) if enough else float("nan")

    def _stale(self, as_of: datetime, answers: Sequence[PredictionRow]) -> str:
        ages = [
            (as_of - row.feature_timestamp).total_seconds()
            for row in answers
            if row.feature_timestamp is not None
        ]
        oldest = max(ages, default=0.0)
        if oldest <= self.max_staleness_seconds:
            return ""
        return (
            f"answered with features {oldest:,.0f} s older than the bar "
            f"(rollout.max_staleness_seconds is {self.max_staleness_seconds:g})"
        )

    def _slow(self) -> str:
        p99 = self.p99_ms
        if not p99 > self.max_latency_ms:
            return ""
        return (
            f"p99 of {len(self._latencies)} answers is {p99:.0f} ms "
            f"(rollout.max_latency_ms is {self.max_latency_ms:g})"
        )
