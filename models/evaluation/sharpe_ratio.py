"""Sharpe ratios, and what is left of one after many trials."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.bars_per_year import bars_per_year

__all__ = ["bars_per_year", "deflated_sharpe", "sharpe_ratio"]


def sharpe_ratio(returns: npt.ArrayLike, periods: float) -> float:
    """Annual Sharpe ratio of returns per bar, with `periods` bars a year; NaN where they do not vary.

    Of returns over a benchmark's it is the information ratio.
    """
    values = np.asarray(returns, dtype=np.float64)
    if len(values) < 2:
        return math.nan
    deviation = float(values.std(ddof=1))
    # A book that holds its benchmark differs from it by rounding only.
    return float(values.mean()) / deviation * math.sqrt(periods) if deviation > 1e-12 else math.nan


def deflated_sharpe(returns: npt.ArrayLike, trials: int) -> float:
    """Probability that the true Sharpe ratio is positive, given that the best of `trials` was taken.

    Bailey and López de Prado 2014, "The Deflated Sharpe Ratio". The variance of Sharpe ratios among
    the trials is taken as that of the estimator for skilless trials, one over the number of bars.
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
