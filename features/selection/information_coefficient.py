"""Information coefficient: rank correlation of a feature with forward returns, bar by bar."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.ranks import centred_rank
from features.engine.operator import Matrix, Vector
from features.selection.target import MIN_SYMBOLS


def unit_ranks(values: npt.NDArray[np.floating], where: npt.NDArray[np.bool_]) -> Matrix:
    """Return centred ranks within each bar as unit vectors, `[T, N]`.

    The dot product of two bars' vectors is Spearman's rank correlation. Values that are unknown, or outside
    `where`, become 0, and so does a bar on which fewer than three symbols are known or all are equal.
    """
    ranks = centred_rank(np.where(where & np.isfinite(values), values, np.nan).astype(np.float64))
    ranks[np.isfinite(ranks).sum(axis=1) < MIN_SYMBOLS] = np.nan
    ranks = np.where(np.isfinite(ranks), ranks, 0.0)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0))


def bar_coefficients(ranks: npt.NDArray[np.floating], target_ranks: Matrix) -> Matrix:
    """Return the information coefficient of each feature on each bar, `[T, F]`.

    `ranks` `[T, N, F]` and `target_ranks` `[T, N]` are from `unit_ranks`; NaN where either has no ranks.
    """
    found = np.einsum("tnf,tn->tf", ranks, target_ranks, dtype=np.float64)
    says = (ranks != 0).any(axis=1) & (target_ranks != 0).any(axis=1)[:, None]
    return np.where(says, found, np.nan)


def mean_coefficient(of_bars: Matrix) -> Vector:
    """Return the mean over the bars with a coefficient, `[F]`; 0 for a feature without any."""
    count = np.isfinite(of_bars).sum(axis=0)
    return np.asarray(np.where(np.isfinite(of_bars), of_bars, 0.0).sum(axis=0) / np.maximum(count, 1))


def coefficient_standard_error(of_bars: Matrix, lags: int) -> Vector:
    """Return the standard error of `mean_coefficient` under overlapping labels, `[F]`.

    NaN for a feature without any coefficient.

    Newey and West 1987 with Bartlett weights over `lags` bars.
    """
    count = np.isfinite(of_bars).sum(axis=0)
    centred = np.where(np.isfinite(of_bars), of_bars - mean_coefficient(of_bars), 0.0)
    variance = (centred**2).sum(axis=0)
    for lag in range(1, min(lags, len(of_bars) - 1) + 1):
        variance = variance + 2 * (1 - lag / (lags + 1)) * (centred[lag:] * centred[:-lag]).sum(axis=0)
    usable = (count > 1) & (variance > 0)
    error = np.sqrt(np.where(usable, variance, np.nan)) / np.maximum(count, 1)
    return np.asarray(error)
