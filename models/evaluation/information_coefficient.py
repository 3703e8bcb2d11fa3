"""The information coefficient (IC): rank correlation of scores with later returns."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix

Vector = npt.NDArray[np.float64]
MIN_SYMBOLS = 3

BANDWIDTH_HORIZONS = 3
"""Lags of the IC's standard error over overlapping labels, in horizons of the label."""
FIXED_BANDWIDTH = (2.3263, 4.1618, 0.5368, -0.9060)
"""Coefficients of the critical value at 1 % by powers of bandwidth / bars.

Kiefer and Vogelsang 2005.
"""


def information_coefficients(scores: FloatMatrix, labels: FloatMatrix) -> Vector:
    """Compute the Spearman rank correlation across symbols, bar by bar.

    Parameters
    ----------
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores; NaN where a symbol has none.
    labels : ndarray of float64, shape [timestamps, symbols]
        Later returns; NaN where they are not known.

    Returns
    -------
    ndarray of float64, shape [timestamps]
        Correlation over the symbols that have both; NaN with fewer than three of them, or where either side
        does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    >>> labels = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    >>> information_coefficients(scores, labels).round(6).tolist()
    [1.0, -1.0]
    """
    both = np.isfinite(scores) & np.isfinite(labels)
    count = both.sum(axis=1, keepdims=True)
    centred = [_centred_ranks(values, both, count) for values in (scores, labels)]
    covariance = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    usable = (count[:, 0] >= MIN_SYMBOLS) & (scale > 0)
    coefficients = np.full(len(scores), np.nan)
    np.divide(covariance, scale, out=coefficients, where=usable)
    return coefficients


def newey_west_tstat(values: npt.ArrayLike, lags: int) -> float:
    """Compute the t-statistic of the mean of autocorrelated values.

    Labels of `h` bars overlap their `h - 1` neighbours, which makes a plain t-statistic too large by up to
    the square root of `h`.

    Parameters
    ----------
    values : array_like of float, shape [bars]
        Values in order of time; NaN values are left out.
    lags : int
        Number of autocovariances in the standard error, with Bartlett weights.

    Returns
    -------
    float
        t-statistic; NaN for `lags + 2` values or fewer.

    References
    ----------
    Newey and West 1987, "A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation Consistent
    Covariance Matrix".

    Examples
    --------
    >>> round(newey_west_tstat([1.0, 2.0, 1.0, 2.0, 3.0], lags=0), 3)
    5.379
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
    """Compute the t-statistic of a mean IC whose labels span `horizon` bars.

    It is Newey and West's with a bandwidth of three horizons, times `horizon_scale`. With only as many lags
    as the horizon, the statistic of a constant ranking without skill has a standard deviation of 1.2 instead
    of 1. NaN values are left out. The result is NaN where `3 * horizon + 2` bars or fewer have a coefficient.
    """
    series = np.asarray(coefficients, dtype=np.float64)
    bars = int(np.isfinite(series).sum())
    return newey_west_tstat(series, BANDWIDTH_HORIZONS * horizon) * horizon_scale(bars, horizon)


def horizon_scale(bars: int, horizon: int) -> float:
    """Return the factor that makes the Newey-West statistic standard normal without skill.

    `bars` is the number of ICs, `horizon` the bars of a label. The factor has two parts. The bandwidth is a
    considerable share of the bars, so that the standard error itself is uncertain and the bound at 1 % is
    more than 2.33 (fixed-b; Kiefer and Vogelsang 2005, "A New Asymptotic Theory for
    Heteroskedasticity-Autocorrelation Robust Tests"). And Bartlett's weights remove part of the
    autocorrelation that overlapping labels of persistent scores have, which is known: `1 - lag / horizon`.
    """
    width = BANDWIDTH_HORIZONS * horizon + 1
    share = width / max(bars, 1)
    critical = sum(weight * share**power for power, weight in enumerate(FIXED_BANDWIDTH))
    lags = np.arange(1, horizon)
    overlaps = 1 - lags / horizon
    seen = (1 + 2 * float((1 - lags / width) @ overlaps)) / (1 + 2 * float(overlaps.sum()))
    return FIXED_BANDWIDTH[0] / critical * math.sqrt(seen)


def centred_ranks(values: FloatMatrix, present: npt.NDArray[np.bool_]) -> FloatMatrix:
    """Rank the values `present` in each row and subtract the mean; 0 elsewhere. `[timestamps, symbols]`."""
    return _centred_ranks(values, present, present.sum(axis=1, keepdims=True))


def _centred_ranks(values: FloatMatrix, present: npt.NDArray[np.bool_], count: Vector) -> FloatMatrix:
    from scipy.stats import rankdata

    # Absent values rank last, so that they do not change the ranks of the others.
    ranks = rankdata(np.where(present, values, np.inf), axis=1)
    centred = np.where(present, ranks - (count + 1) / 2, 0.0)
    return np.asarray(centred, dtype=np.float64)
