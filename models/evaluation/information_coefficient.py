"""The information coefficient: how well scores order what happened next."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix

Vector = npt.NDArray[np.float64]
MINIMUM_SYMBOLS = 3

BANDWIDTH_HORIZONS = 3
"""Lags of the standard error of an IC over overlapping labels, in horizons of the label."""
FIXED_BANDWIDTH = (2.3263, 4.1618, 0.5368, -0.9060)
"""Critical value at 1 % by powers of the bandwidth's share of the bars (Kiefer and Vogelsang 2005)."""


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


def horizon_tstat(coefficients: npt.ArrayLike, horizon: int) -> float:
    """t-statistic of a mean IC whose labels span `horizon` bars; NaN values are left out.

    Newey and West's with a bandwidth of three horizons, times `horizon_scale`: with as many lags as the
    horizon, the statistic of a constant ranking without skill has a standard deviation of 1.2 instead of
    1. NaN where `3 * horizon + 2` bars or fewer have a coefficient.
    """
    series = np.asarray(coefficients, dtype=np.float64)
    bars = int(np.isfinite(series).sum())
    return newey_west_tstat(series, BANDWIDTH_HORIZONS * horizon) * horizon_scale(bars, horizon)


def horizon_scale(bars: int, horizon: int) -> float:
    """Factor that makes Newey and West's statistic of `bars` ICs normal where nothing is foretold.

    It has two parts. The bandwidth is no small share of the bars, so that the standard error is uncertain
    itself: the bound at 1 % is more than 2.33 (fixed-b; Kiefer and Vogelsang 2005, "A New Asymptotic
    Theory for Heteroskedasticity-Autocorrelation Robust Tests"). And Bartlett's weights take away a part
    of what overlapping labels of persistent scores share, which is known: `1 - lag / horizon`.
    """
    width = BANDWIDTH_HORIZONS * horizon + 1
    share = width / max(bars, 1)
    critical = sum(weight * share**power for power, weight in enumerate(FIXED_BANDWIDTH))
    lags = np.arange(1, horizon)
    overlaps = 1 - lags / horizon
    seen = (1 + 2 * float((1 - lags / width) @ overlaps)) / (1 + 2 * float(overlaps.sum()))
    return FIXED_BANDWIDTH[0] / critical * math.sqrt(seen)


def centred_ranks(values: FloatMatrix, present: npt.NDArray[np.bool_]) -> FloatMatrix:
    """Ranks of each row less their mean, among those `present`; 0 for the others. `[timestamps, symbols]`."""
    return _centred_ranks(values, present, present.sum(axis=1, keepdims=True))


def _centred_ranks(values: FloatMatrix, present: npt.NDArray[np.bool_], count: Vector) -> FloatMatrix:
    from scipy.stats import rankdata

    # What is absent ranks last, so that it does not change the ranks of the others.
    ranks = rankdata(np.where(present, values, np.inf), axis=1)
    centred = np.where(present, ranks - (count + 1) / 2, 0.0)
    return np.asarray(centred, dtype=np.float64)
