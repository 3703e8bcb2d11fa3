"""The t-statistic of a mean information coefficient whose labels overlap."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.newey_west import newey_west_tstat

BANDWIDTH_HORIZONS = 3
"""Lags of the IC's standard error over overlapping labels, in horizons of the label."""
FIXED_BANDWIDTH = (2.3263, 4.1618, 0.5368, -0.9060)
"""Coefficients of the critical value at 1 % by powers of bandwidth / bars.

Kiefer and Vogelsang 2005.
"""


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
