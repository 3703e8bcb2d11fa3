"""Newey-West: the variance of a sum of autocorrelated values, and the t-statistic of their mean.

Newey and West 1987, "A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation Consistent
Covariance Matrix".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def long_run_variance(centred: FloatArray, lags: int) -> FloatArray:
    """Sum the autocovariances of `centred` along its first axis, with Bartlett weights over `lags` bars.

    `[bars, ...]` to `[...]`, in squared units of the values. The values have mean 0, and 0 stands where one
    is not known.
    """
    variance = (centred**2).sum(axis=0)
    for lag in range(1, min(lags, len(centred) - 1) + 1):
        variance = variance + 2 * (1 - lag / (lags + 1)) * (centred[lag:] * centred[:-lag]).sum(axis=0)
    return np.asarray(variance)


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
    variance = float(long_run_variance(series - series.mean(), lags)[()])
    if variance <= 0:
        return float("nan")
    return float(series.mean() * len(series) / np.sqrt(variance))
