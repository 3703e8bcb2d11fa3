"""The robust local scale of returns, from the past alone, and each return's reference bar.

With r the log returns of adjusted closes, m_t the median of the returns before t and d_t = |r_t − m_t|,
the scale at t is 1.4826 times the median of the d before t, which estimates the standard deviation of a
normal distribution (Hampel 1974, "The influence curve and its role in robust estimation").

A single bad price makes two large returns: into it and out of it. So the bar after a suspect one is compared
with that bar or with the one before it, whichever is nearer, and only the bad bar is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.quality.bar_rows import BarRows, Floats, Indices
from marketdata.quality.thresholds import Thresholds

NORMAL_OVER_MAD = 1.4826
# A bar this many scales from the one before it is suspect; where there is no scale yet, a return this large.
MIN_SUSPECT_SCALES, MIN_SUSPECT_RETURN = 5.0, 0.2


@dataclass(frozen=True)
class ScaledReturns:
    """One symbol's returns against the bars before, each array `[bars]`.

    `reference` is the index of the bar at which a return begins, `deviation` the absolute distance of the log
    return from the median before it, `scale` the local scale: NaN where fewer than `outlier_history` returns
    came before.
    """

    reference: Indices
    deviation: Floats
    scale: Floats


def adjusted_closes(rows: BarRows, places: Indices) -> Floats:
    """Return close times adjustment, float64 `[bars]`; NaN where it is not a positive number."""
    # Infinite and zero prices are reported by the rule `price`.
    with np.errstate(invalid="ignore", over="ignore"):
        values = rows.column("close")[0][places] * rows.column("adjustment")[0][places]
    adjusted: Floats = np.where((values > 0) & np.isfinite(values), values, np.nan)
    return adjusted


def scaled_returns(prices: Floats, thresholds: Thresholds) -> ScaledReturns:
    """Compute the returns of adjusted closes `[bars]` with their local scale."""
    import pandas as pd

    logs = np.log(prices)
    returns = pd.Series(np.diff(logs, prepend=np.nan))
    window, least = int(thresholds.outlier_window), int(thresholds.outlier_history)

    def past_median(series: pd.Series) -> pd.Series:
        return series.rolling(max(window, least), min_periods=least).median().shift(1)

    median = past_median(returns)
    deviation = (returns - median).abs()
    scale = (NORMAL_OVER_MAD * past_median(deviation)).clip(lower=thresholds.outlier_floor)
    return _referenced(logs, median.to_numpy(), deviation.to_numpy(copy=True), scale.to_numpy())


def _referenced(logs: Floats, median: Floats, deviation: Floats, scale: Floats) -> ScaledReturns:
    """Compare the bar after a suspect one with the nearer of it and the suspect's own reference.

    A bar after one without a price is compared with the last that has one.
    """
    priced = np.maximum.accumulate(np.where(np.isfinite(logs), np.arange(len(logs)), 0))
    reference = np.r_[0, priced[:-1]]
    skipped = reference < np.arange(len(logs)) - 1
    deviation[skipped] = np.abs(logs - logs[reference] - np.nan_to_num(median))[skipped]

    def suspect(places: Indices) -> Indices:
        size = np.abs(logs[places] - logs[reference[places]])
        known = np.isfinite(scale[places])
        limit = np.where(known, MIN_SUSPECT_SCALES * scale[places], MIN_SUSPECT_RETURN)
        found: Indices = places[np.where(known, deviation[places], size) >= limit]
        return found

    for index in suspect(np.arange(len(logs))).tolist():
        after, base = index + 1, int(reference[index])
        if after == len(logs) or not len(suspect(np.array([index]))):
            continue
        size = abs(logs[after] - logs[base])
        if size < abs(logs[after] - logs[index]):
            reference[after] = base
            deviation[after] = abs(logs[after] - logs[base] - np.nan_to_num(median[after]))
    return ScaledReturns(reference, deviation, scale)
