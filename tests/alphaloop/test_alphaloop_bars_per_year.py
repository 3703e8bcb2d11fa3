"""Frequency: bars a year are counted on timestamps, whatever the bars are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloop.statistics.bars_per_year import bars_per_year, year_and_month


def stamps(count: int, step: str, start: str = "2019-01-07T21:00") -> np.ndarray:
    """`count` timestamps, one after each `step` of numpy's units."""
    number, unit = int(step[:-1]), step[-1]
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(number, unit)


def business_days(count: int) -> np.ndarray:
    """`count` timestamps on weekdays."""
    return np.busday_offset("2019-01-07", np.arange(count), roll="forward").astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("timestamps", "bars", "year", "month"),
    [
        (business_days(1_000), 260.9, 252, 21),
        (stamps(1_000, "1D"), 365.25, 365, 30),
        (stamps(9_000, "1h"), 8_766.0, 8_766, 730),
        (stamps(9_000, "5m"), 105_192.0, 105_192, 8_766),
        (stamps(300, "1W"), 52.18, 52, 4),
    ],
    ids=["exchange days", "round the clock", "hourly", "five minutes", "weekly"],
)
def test_a_year_and_a_month_have_the_bars_that_the_timestamps_say(
    timestamps: np.ndarray, bars: float, year: int, month: int
) -> None:
    """252 and 21 are the year and month of exchange days alone; other bars have their own."""
    assert bars_per_year(timestamps) == pytest.approx(bars, rel=2e-3)
    assert year_and_month(timestamps) == (year, month)


def test_one_bar_tells_no_frequency() -> None:
    """Fewer than two timestamps have no bars a year, and a year is taken to be one of exchange days."""
    assert math.isnan(bars_per_year(stamps(1, "1D")))
    assert year_and_month(stamps(1, "1D")) == (252, 21)
