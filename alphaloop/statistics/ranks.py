"""Ranks within the rows of a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def centred_rank(values: Matrix) -> Matrix:
    """Rank each row from -1 (lowest) to 1 (highest), ties by their mean.

    NaN stays NaN, and a row with a single finite value ranks it 0. Shape `[T, N]` to `[T, N]`.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    positions = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    begins = np.ones(values.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, positions, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, positions, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    # Twice the mean position of a tie minus twice the middle position, because that is an exact integer.
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    doubled = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(doubled, order, first + last - (count - 1), axis=1)
    ranks = doubled / np.maximum(count - 1, 1)
    return np.where(np.isfinite(values), ranks, np.nan)
