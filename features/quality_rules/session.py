"""Rules `calendar` and `gap`: bars while the market is closed, and none while it is open."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from features.calendars import FOREX, ROUND_THE_CLOCK, open_time, session_closes
from features.quality_rules.finding import Finding, Severity
from features.quality_rules.rows import Rows, moment
from features.quality_rules.thresholds import Thresholds

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
# Intraday bars of an exchange may come from its early and late trading: so far from the session.
EXTENDED = 6 * HOUR


def sessions(rows: Rows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    """Bars outside of the calendar, and bars that are missing between a symbol's first and last."""
    step = usual_step(rows)
    if calendar not in (ROUND_THE_CLOCK, FOREX) and 20 * HOUR <= step <= 4 * DAY:
        yield from _days(rows, calendar)
        return
    if calendar != ROUND_THE_CLOCK and step < 20 * HOUR:
        yield from _closed(rows, calendar, step)
    yield from _holes(rows, calendar, thresholds)


def usual_step(rows: Rows) -> int:
    """The usual time from bar to bar, in nanoseconds; a day where there are no two bars of a symbol."""
    steps = [np.diff(np.unique(rows.times[places])).astype(np.int64) for _, places in rows.groups]
    together = np.concatenate(steps) if steps else np.array([], dtype=np.int64)
    return int(np.median(together)) if len(together) else DAY


def _days(rows: Rows, calendar: str) -> Iterator[Finding]:
    days = rows.times.astype("datetime64[D]")
    known = session_closes(days.min().item(), days.max().item(), calendar).astype("datetime64[D]")
    for row in np.flatnonzero(~np.isin(days, known)).tolist():
        yield rows.finding("calendar", row, f"{days[row]} is no session of {calendar}")
    for symbol, places in rows.groups:
        mine = days[places]
        expected = known[(known >= mine[0]) & (known <= mine[-1])]
        for day in np.setdiff1d(expected, mine):
            yield Finding("gap", symbol, str(day), f"no bar on this session of {calendar}", bars=0)


def _closed(rows: Rows, calendar: str, step: int) -> Iterator[Finding]:
    slack = 0 if calendar == FOREX else EXTENDED
    early = (rows.times.astype(np.int64) - step - slack).astype("datetime64[ns]")
    late = (rows.times.astype(np.int64) + slack).astype("datetime64[ns]")
    opened = open_time(np.concatenate([early, late]), calendar)
    for row in np.flatnonzero(opened[len(early) :] <= opened[: len(early)]).tolist():
        yield rows.finding("calendar", row, f"{calendar} was closed during this bar")


def _holes(rows: Rows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    """Where more of the market's open time lies between two bars than usual."""
    for symbol, places in rows.groups:
        times = np.unique(rows.times[places])
        if len(times) < 2:
            continue
        spent = np.diff(open_time(times, calendar))
        usual = max(int(np.median(spent)), 1)
        absent = np.maximum(np.rint(spent / usual).astype(np.int64) - 1, 0)
        if calendar == ROUND_THE_CLOCK:
            # There a step that is longer at all is a hole: nothing but bars divides time.
            absent = np.where(spent > usual, np.maximum(spent // usual - 1, 1), 0)
        for place in np.flatnonzero(absent).tolist():
            count = int(absent[place])
            severity: Severity = "error" if count > thresholds.gap_bars else "warning"
            value = f"{count} bar{' is' if count == 1 else 's are'} missing after this one"
            yield Finding("gap", symbol, moment(times[place]), value, severity, bars=0)
