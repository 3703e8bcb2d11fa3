"""Sampling frequency: the number of bars a year, counted on the bars' own timestamps.

Daily bars of an exchange have about 252 a year, daily bars of a round-the-clock market 365, hourly bars up to
8,766. No annualised figure may assume one of these.
"""

from __future__ import annotations

import math

import numpy as np

from alphaloop.bars import Timestamps

SECONDS_A_YEAR = 365.25 * 86_400
TRADING_DAYS_A_YEAR, TRADING_DAYS_A_MONTH = 252, 21
"""Exchange days in the year and month of the literature."""
TRADING_DAYS_RANGE = (235.0, 266.0)
"""Range of bars a year that count as exchange days.

It reaches from markets with many holidays to markets that only close at weekends.
"""


def bars_per_year(timestamps: Timestamps) -> float:
    """Count the bars a year on the timestamps; NaN for fewer than two."""
    if len(timestamps) < 2:
        return math.nan
    span = (timestamps[-1] - timestamps[0]) / np.timedelta64(1, "s")
    return float((len(timestamps) - 1) * SECONDS_A_YEAR / span)


def annual_bars(timestamps: Timestamps) -> float:
    """Return the bars a year by which a track record is annualised.

    That is 252 on exchange days, and the counted number otherwise.
    """
    periods = bars_per_year(timestamps)
    on_exchange_days = math.isnan(periods) or TRADING_DAYS_RANGE[0] <= periods <= TRADING_DAYS_RANGE[1]
    return TRADING_DAYS_A_YEAR if on_exchange_days else periods


def year_and_month(timestamps: Timestamps) -> tuple[int, int]:
    """Return the bars of twelve months and of one month, at least two and one.

    They are 252 and 21 on exchange days, as in the literature; otherwise the bars of a year and a twelfth of
    it.
    """
    periods = bars_per_year(timestamps)
    if math.isnan(periods) or TRADING_DAYS_RANGE[0] <= periods <= TRADING_DAYS_RANGE[1]:
        return TRADING_DAYS_A_YEAR, TRADING_DAYS_A_MONTH
    return max(round(periods), 2), max(round(periods / 12), 1)
