"""Information coefficient: rank correlation of a feature with forward returns, bar by bar."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.information_coefficient import MIN_SYMBOLS
from alphaloop.statistics.newey_west import long_run_variance
from alphaloop.statistics.ranks import unit_ranks
from features.engine.operator import Matrix, Vector


def unit_feature_ranks(values: npt.NDArray[np.floating], where: npt.NDArray[np.bool_]) -> Matrix:
    """Return `unit_ranks` of the values that are known and in `where`, `[T, N]`.

    A bar on which fewer than three symbols are known is 0, as is one on which all are equal.
    """
    known = where & np.isfinite(values)
    known &= known.sum(axis=1, keepdims=True) >= MIN_SYMBOLS
    return unit_ranks(np.asarray(values, dtype=np.float64), known)


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
    variance = long_run_variance(centred, lags)
    usable = (count > 1) & (variance > 0)
    error = np.sqrt(np.where(usable, variance, np.nan)) / np.maximum(count, 1)
    return np.asarray(error)
