"""Sharpe ratios, and their deflation for the number of trials."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.bars_per_year import bars_per_year

__all__ = ["bars_per_year", "deflated_sharpe", "sharpe_ratio"]


def sharpe_ratio(returns: npt.ArrayLike, periods: float) -> float:
    """Compute the annual Sharpe ratio of returns.

    Of returns over a benchmark's it is the information ratio.

    Parameters
    ----------
    returns : array_like of float, shape [bars]
        Returns of each bar.
    periods : float
        Bars a year.

    Returns
    -------
    float
        Mean over standard deviation, times the square root of `periods`; NaN where returns do not vary.

    References
    ----------
    Sharpe 1994, "The Sharpe Ratio".

    Examples
    --------
    >>> round(sharpe_ratio([0.01, -0.005, 0.02], periods=252), 2)
    10.51
    """
    values = np.asarray(returns, dtype=np.float64)
    if len(values) < 2:
        return math.nan
    deviation = float(values.std(ddof=1))
    # The returns of a book that holds its benchmark differ from zero by rounding only.
    return float(values.mean()) / deviation * math.sqrt(periods) if deviation > 1e-12 else math.nan


def deflated_sharpe(returns: npt.ArrayLike, trials: int) -> float:
    """Compute the probability that the true Sharpe ratio is positive, after selection among trials.

    The variance of Sharpe ratios among the trials is taken as that of the estimator for trials without skill,
    one over the number of bars.

    Parameters
    ----------
    returns : array_like of float, shape [bars]
        Returns of the selected trial.
    trials : int
        Number of trials of which it was the best.

    Returns
    -------
    float
        Probability in [0, 1]; NaN with fewer than three returns, or where they do not vary.

    References
    ----------
    Bailey and López de Prado 2014, "The Deflated Sharpe Ratio".

    Examples
    --------
    >>> returns = [0.01, -0.005, 0.02, 0.0, 0.01, -0.01]
    >>> deflated_sharpe(returns, trials=1) > deflated_sharpe(returns, trials=20)
    True
    """
    from scipy.stats import kurtosis, norm, skew

    values = np.asarray(returns, dtype=np.float64)
    if len(values) < 3 or values.std() <= 1e-12:
        return math.nan
    observed = float(values.mean() / values.std(ddof=1))
    benchmark = 0.0
    if trials > 1:
        best = (1 - np.euler_gamma) * norm.ppf(1 - 1 / trials) + np.euler_gamma * norm.ppf(
            1 - 1 / (trials * math.e)
        )
        benchmark = float(best) / math.sqrt(len(values) - 1)
    shape = 1 - float(skew(values)) * observed + (float(kurtosis(values, fisher=False)) - 1) / 4 * observed**2
    if shape <= 0:
        return math.nan
    return float(norm.cdf((observed - benchmark) * math.sqrt(len(values) - 1) / math.sqrt(shape)))
