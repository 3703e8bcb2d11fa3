"""The information coefficient: how well scores order what happened next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.market import FloatMatrix

Vector = npt.NDArray[np.float64]
MINIMUM_SYMBOLS = 3


def information_coefficients(scores: FloatMatrix, labels: FloatMatrix) -> Vector:
    """Spearman rank correlation of scores and labels across symbols, bar by bar, `[timestamps]`.

    Both are `[timestamps, symbols]`; only symbols with both count. NaN where fewer than three have
    both, or where either does not vary.
    """
    both = np.isfinite(scores) & np.isfinite(labels)
    count = both.sum(axis=1, keepdims=True)
    centred = [_centred_ranks(values, both, count) for values in (scores, labels)]
    covariance = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    usable = (count[:, 0] >= MINIMUM_SYMBOLS) & (scale > 0)
    coefficients = np.full(len(scores), np.nan)
    np.divide(covariance, scale, out=coefficients, where=usable)
    return coefficients


def newey_west_tstat(values: npt.ArrayLike, lags: int) -> float:
    """t-statistic of the mean of autocorrelated `values`; NaN values are left out.

    Newey and West 1987, with Bartlett weights: labels of `h` bars overlap their `h - 1` neighbours,
    which makes a plain t-statistic too large by up to the square root of `h`.
    """
    series = np.asarray(values, dtype=np.float64)
    series = series[np.isfinite(series)]
    if len(series) <= lags + 2:
        return float("nan")
    centred = series - series.mean()
    variance = float(centred @ centred)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    if variance <= 0:
        return float("nan")
    return float(series.mean() * len(series) / np.sqrt(variance))


def _centred_ranks(values: FloatMatrix, present: npt.NDArray[np.bool_], count: Vector) -> FloatMatrix:
    from scipy.stats import rankdata

    # What is absent ranks last, so that it does not change the ranks of the others.
    ranks = rankdata(np.where(present, values, np.inf), axis=1)
    centred = np.where(present, ranks - (count + 1) / 2, 0.0)
    return np.asarray(centred, dtype=np.float64)
