"""The robust local scale of returns, from the past alone.

With r the log returns of adjusted closes, m_t the median of the returns before t and d_t = |r_t − m_t|,
the scale at t is 1.4826 times the median of the d before t, which estimates the standard deviation of a
normal distribution (Hampel 1974, "The influence curve and its role in robust estimation").
"""

from __future__ import annotations

import numpy as np

from features.quality_rules.rows import Floats, Places, Rows
from features.quality_rules.thresholds import Thresholds

NORMAL = 1.4826


def adjusted_closes(rows: Rows, places: Places) -> Floats:
    """Close times adjustment, float64 `[bars]`; NaN where it is not a positive number."""
    # What is infinite or zero here has been found by the rule `price`.
    with np.errstate(invalid="ignore", over="ignore"):
        values = rows.column("close")[0][places] * rows.column("adjustment")[0][places]
    adjusted: Floats = np.where((values > 0) & np.isfinite(values), values, np.nan)
    return adjusted


def deviations(prices: Floats, thresholds: Thresholds) -> tuple[Floats, Floats]:
    """How far each return lies from the median before it, and the scale there; float64 `[bars]`.

    NaN where fewer than `outlier_history` returns came before.
    """
    import pandas as pd

    returns = pd.Series(np.diff(np.log(prices), prepend=np.nan))
    window, least = int(thresholds.outlier_window), int(thresholds.outlier_history)

    def past_median(series: pd.Series) -> pd.Series:
        return series.rolling(max(window, least), min_periods=least).median().shift(1)

    away = (returns - past_median(returns)).abs()
    scale = (NORMAL * past_median(away)).clip(lower=thresholds.outlier_floor)
    return away.to_numpy(), scale.to_numpy()
