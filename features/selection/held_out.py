"""Held-out period after the split date: results of the candidates, reported and never used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, Timestamps, to_datetime64
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from features.selection.information_coefficient import (
    bar_coefficients,
    coefficient_standard_error,
    mean_coefficient,
    unit_feature_ranks,
)
from features.selection.null_distribution import expected_best
from features.selection.target import relative_forward_returns

MIN_BARS = 20


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Mean information coefficients by candidate over the `bars` after the split date.

    `best` is the largest absolute value, and `expected` that of the best of `tried` candidates without skill,
    as in `features.selection.null_distribution.NullDistribution`. Nothing here influenced the selection.
    """

    timestamps: Timestamps
    coefficients: Mapping[str, float]
    tried: int
    best: float
    expected: float

    @property
    def bars(self) -> int:
        """Number of held-out bars whose labels have matured."""
        return len(self.timestamps)


def evaluate_held_out(
    bars: BarPanel, features: FeatureSet, until: datetime, horizon: int, tried: int
) -> HeldOut | None:
    """Evaluate the bars after `until`; None if fewer than twenty have a matured label."""
    first = int(np.searchsorted(bars.timestamps, to_datetime64(until), "right"))
    last = len(bars) - horizon - 1
    if last - first < MIN_BARS:
        return None
    labels = relative_forward_returns(bars.adjusted_close, horizon)[first:last]
    values = backfill(bars, features).values[first:last]
    labelled = np.asarray(np.isfinite(labels))
    ranks = np.stack(
        [unit_feature_ranks(values[..., one], labelled) for one in range(len(features))], axis=-1
    )
    by_bar = bar_coefficients(ranks, unit_feature_ranks(labels, labelled))
    means, errors = mean_coefficient(by_bar), coefficient_standard_error(by_bar, horizon)
    return HeldOut(
        timestamps=bars.timestamps[first:last],
        coefficients=dict(zip(features.names, means.tolist(), strict=True)),
        tried=tried,
        best=float(np.abs(means).max()),
        expected=expected_best(errors, tried),
    )
