"""Rules `check_staleness` and `check_future_bars`: bars compared with the current time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from alphaloop.bars import to_datetime64
from alphaloop.clock import as_utc
from marketdata.calendars import open_time
from marketdata.quality.bar_rows import BarRows, iso_moment
from marketdata.quality.finding import Finding
from marketdata.quality.rules.holidays import Holidays
from marketdata.quality.thresholds import Thresholds


def check_staleness(rows: BarRows, calendar: str, now: datetime, thresholds: Thresholds) -> Iterator[Finding]:
    """Find symbols with a last bar older than a few bars' worth of open market."""
    present = to_datetime64(now)
    for symbol, places in rows.groups:
        times = np.unique(rows.times[places])
        if len(times) < 2 or times[-1] >= present:
            continue
        opened = open_time(np.r_[times, present], calendar)
        usual = max(int(np.median(np.diff(opened[:-1]))), 1)
        holidays = Holidays(calendar, thresholds.holidays, np.r_[times, present])
        bars = (opened[-1] - opened[-2] - holidays.open_time(times[-1], present)) / usual
        if bars > thresholds.stale_bars:
            until = as_utc(now).isoformat()
            value = f"the last bar; by {until} the market has been open for {bars:.1f} bars since"
            yield Finding("stale", symbol, iso_moment(times[-1]), value, bars=0)


def check_future_bars(rows: BarRows, now: datetime, thresholds: Thresholds) -> Iterator[Finding]:
    """Find bars that close in the future."""
    present = to_datetime64(now + timedelta(seconds=thresholds.skew_seconds))
    for row in np.flatnonzero(rows.times > present).tolist():
        ahead = (rows.times[row] - to_datetime64(now)) / np.timedelta64(1, "s")
        yield rows.finding(
            "skew", row, f"it closes {ahead:.0f} s after our clock's {as_utc(now).isoformat()}"
        )


def check_venue_clock(venue_now: datetime, now: datetime, thresholds: Thresholds) -> Iterator[Finding]:
    """Find a difference between the venue's clock and ours, wherever the error lies."""
    ahead = (as_utc(venue_now) - as_utc(now)).total_seconds()
    if abs(ahead) > thresholds.skew_seconds:
        side = "ahead of" if ahead > 0 else "behind"
        value = f"the venue's clock is {abs(ahead):.0f} s {side} ours"
        yield Finding("skew", "", as_utc(venue_now).isoformat(), value, bars=0)
