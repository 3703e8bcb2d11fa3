"""Ranks within the rows of a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def centred_rank(values: Matrix) -> Matrix:
    """Rank each row from -1 (lowest) to 1 (highest), ties by their mean.

    NaN stays NaN, and a row with a single finite value ranks it 0. Shape `[T, N]` to `[T, N]`.
    """
    known = np.isfinite(values)
    doubled = _doubled_ranks(values, known)
    ranks = doubled / np.maximum(known.sum(axis=1, keepdims=True) - 1, 1)
    return np.where(known, ranks, np.nan)


def centred_ranks(values: Matrix, present: Mask) -> Matrix:
    """Rank the values `present` in each row, ties by their mean, and subtract the mean rank.

    Shapes `[T, N]`; steps between neighbours are 1, and absent values are 0.
    """
    return np.where(present, _doubled_ranks(np.where(present, values, np.nan), present) / 2, 0.0)


def unit_ranks(values: Matrix, present: Mask) -> Matrix:
    """Return `centred_ranks` with each row scaled to length 1, `[T, N]`; rows without a spread stay 0.

    The dot product of two rows over the same symbols is Spearman's rank correlation.
    """
    ranks = centred_ranks(values, present)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0))


def _doubled_ranks(values: Matrix, known: Mask) -> npt.NDArray[np.int64]:
    """Return twice the centred rank of each value, an exact integer, `[T, N]`; NaN ranks last."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    positions = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    begins = np.ones(values.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, positions, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, positions, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    # Twice the mean position of a tie minus twice the middle position.
    doubled = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(doubled, order, first + last - (known.sum(axis=1, keepdims=True) - 1), axis=1)
    return doubled
