"""Frequency: how many bars a year has, counted on the bars' own timestamps.

Daily bars of an exchange have about 252 a year, round-the-clock daily ones 365, hourly ones up to 8,766.
Nothing that is stated by the year may assume one of them.
"""

from __future__ import annotations

import math

import numpy as np

from alphaloop.bars import Timestamps

SECONDS_A_YEAR = 365.25 * 86_400
TRADING_DAYS_A_YEAR, TRADING_DAYS_A_MONTH = 252, 21
"""The literature's year and month of exchange days."""
TRADING_DAYS_RANGE = (235.0, 266.0)
"""Bars a year of exchange days: from markets with many holidays to those that rest at weekends only."""


def bars_per_year(timestamps: Timestamps) -> float:
    """Bars a year, counted on the timestamps themselves; NaN for fewer than two."""
    if len(timestamps) < 2:
        return math.nan
    span = (timestamps[-1] - timestamps[0]) / np.timedelta64(1, "s")
    return float((len(timestamps) - 1) * SECONDS_A_YEAR / span)


def annual_bars(timestamps: Timestamps) -> float:
    """Bars a year of a track record: 252 on exchange days, else as many as there are."""
    periods = bars_per_year(timestamps)
    on_exchange_days = math.isnan(periods) or TRADING_DAYS_RANGE[0] <= periods <= TRADING_DAYS_RANGE[1]
    return TRADING_DAYS_A_YEAR if on_exchange_days else periods


def year_and_month(timestamps: Timestamps) -> tuple[int, int]:
    """Bars of twelve months and of one month, at least two and one.

    252 and 21 on exchange days, as in the literature; the year's bars and their twelfth otherwise.
    """
    periods = bars_per_year(timestamps)
    if math.isnan(periods) or TRADING_DAYS_RANGE[0] <= periods <= TRADING_DAYS_RANGE[1]:
        return TRADING_DAYS_A_YEAR, TRADING_DAYS_A_MONTH
    return max(round(periods), 2), max(round(periods / 12), 1)
