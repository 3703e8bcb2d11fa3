"""Mutual information of features and label, linear or not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.engine.cross_section import universe_median
from features.engine.operator import Vector
from features.selection.training_part import TrainingPart

BINS = 8


def mutual_information(part: TrainingPart, seed: int = 0) -> Vector:
    """Score features by mutual information in nats, `[F]`.

    Measured between each feature in eight equally full bins and whether a symbol does better than half of its
    bar's symbols. The direction alone counts, not the size: a volatility predicts how far a symbol will be
    from the others, but not on which side. The counting bias, `(rows of bins - 1) (columns - 1) / (2 rows)`
    (Miller 1955), is subtracted, and negative results become 0.
    """
    del seed  # Deterministic: the seed is not used.
    rows, _ = part.rows_between(range(len(part)))
    better = (part.target > universe_median(part.target))[part.labelled].astype(np.intp)
    return np.array([_information(_bins(rows[:, place]), better) for place in range(rows.shape[1])])


def _bins(values: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return each value's bin; equal values share one."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(np.unique(edges), values, side="right")


def _information(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> float:
    counts = np.bincount(first * BINS + second, minlength=BINS * BINS).reshape(BINS, BINS)
    share = counts / max(counts.sum(), 1)
    alone = np.outer(share.sum(axis=1), share.sum(axis=0))
    there = share > 0
    information = float((share[there] * np.log(share[there] / alone[there])).sum())
    rows, columns = (np.count_nonzero(counts.sum(axis=axis)) for axis in (1, 0))
    bias = float((rows - 1) * (columns - 1)) / (2 * max(int(counts.sum()), 1))
    return max(information - bias, 0.0)
