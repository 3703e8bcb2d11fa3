"""Rules `calendar` and `gap`: bars while the market is closed, and none while it is open."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.calendars import (
    FOREX,
    ROUND_THE_CLOCK,
    Days,
    Schedule,
    days_of,
    open_time,
    schedule,
    session_days,
    years_of,
)
from marketdata.quality.bar_rows import BarRows, iso_moment
from marketdata.quality.finding import Finding, Severity
from marketdata.quality.thresholds import Thresholds

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
# Maximum distance from the session of an exchange's intraday bars in early and late trading.
MAX_EXTENDED_TIME = 6 * HOUR
# A bar in the first minutes of a lunch break may hold the last trades before it.
MAX_RUNOVER = np.timedelta64(5, "m")
STAMP_HINT = "if times are openings or dates, say so with stamp=open or stamp=date"


def check_sessions(rows: BarRows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    """Find bars outside of the calendar, and missing bars between a symbol's first and last."""
    step = usual_step(rows)
    if calendar == ROUND_THE_CLOCK:
        yield from _gaps(rows, calendar, thresholds)
        return
    days = days_of(rows.times, calendar)
    if step < 20 * HOUR:
        yield from _while_closed(rows, calendar, step)
        yield from _in_lunch_break(rows, schedule(calendar, *years_of(days)), calendar, step)
        yield from _stamped_with_opening(rows, schedule(calendar, *years_of(days)), calendar)
    else:
        yield from _too_early(rows, days, schedule(calendar, *years_of(days)), calendar)
    if 20 * HOUR <= step <= 4 * DAY:
        yield from _unknown_days(rows, days, calendar)
        if calendar != FOREX:
            yield from _missing_days(rows, days, calendar)
            return
    yield from _gaps(rows, calendar, thresholds)


def usual_step(rows: BarRows) -> int:
    """Return the usual time from bar to bar, in nanoseconds.

    A day where no symbol has two bars.
    """
    steps = [np.diff(np.unique(rows.times[places])).astype(np.int64) for _, places in rows.groups]
    together = np.concatenate(steps) if steps else np.array([], dtype=np.int64)
    return int(np.median(together)) if len(together) else DAY


def _unknown_days(rows: BarRows, days: Days, calendar: str) -> Iterator[Finding]:
    known = session_days(days.min().item(), days.max().item(), calendar)
    for row in np.flatnonzero(~np.isin(days, known)).tolist():
        yield rows.finding("calendar", row, f"{days[row]} is no session of {calendar}")


def _too_early(rows: BarRows, days: Days, known: Schedule, calendar: str) -> Iterator[Finding]:
    """Find bars of a day or more that close before the session of their day opens."""
    if not len(known.days):
        return
    index = np.minimum(np.searchsorted(known.days, days), len(known.days) - 1)
    early = (known.days[index] == days) & (rows.times <= known.opens[index])
    for row in np.flatnonzero(early).tolist():
        opened = iso_moment(known.opens[index[row]])
        yield rows.finding(
            "calendar", row, f"it closes before the session of {calendar} opened at {opened}; {STAMP_HINT}"
        )


def _stamped_with_opening(rows: BarRows, known: Schedule, calendar: str) -> Iterator[Finding]:
    """Find intraday bars stamped with their opening.

    Such a table has a stamp at each session's opening and none at its close.
    """
    if known.always_open:
        return
    at_open = np.isin(rows.times, known.opens)
    index = np.searchsorted(known.opens, rows.times, side="right") - 1
    inside = (index >= 0) & (rows.times < known.closes[np.maximum(index, 0)])
    if at_open.sum() > 1 and inside.all():
        row = int(np.flatnonzero(at_open)[0])
        yield rows.finding(
            "calendar",
            row,
            f"it closes as the session of {calendar} opens, and no bar closes with a session; these times "
            f"look like openings: {STAMP_HINT}",
        )


def _in_lunch_break(rows: BarRows, known: Schedule, calendar: str, step: int) -> Iterator[Finding]:
    """Find bars inside the lunch break of an exchange."""
    rests = ~np.isnat(known.break_starts)
    starts, ends = known.break_starts[rests], known.break_ends[rests]
    if not len(starts):
        return
    began = rows.times - np.timedelta64(step, "ns")
    index = np.maximum(np.searchsorted(starts, rows.times) - 1, 0)
    for row in np.flatnonzero((began >= starts[index] + MAX_RUNOVER) & (rows.times <= ends[index])).tolist():
        yield rows.finding("calendar", row, f"{calendar} rested over noon during this bar", "warning")


def _missing_days(rows: BarRows, days: Days, calendar: str) -> Iterator[Finding]:
    known = session_days(days.min().item(), days.max().item(), calendar)
    for symbol, places in rows.groups:
        symbol_days = days[places]
        expected = known[(known >= symbol_days[0]) & (known <= symbol_days[-1])]
        for day in np.setdiff1d(expected, symbol_days):
            yield Finding("gap", symbol, str(day), f"no bar on this session of {calendar}", bars=0)


def _while_closed(rows: BarRows, calendar: str, step: int) -> Iterator[Finding]:
    slack = 0 if calendar == FOREX else MAX_EXTENDED_TIME
    early = (rows.times.astype(np.int64) - step - slack).astype("datetime64[ns]")
    late = (rows.times.astype(np.int64) + slack).astype("datetime64[ns]")
    opened = open_time(np.concatenate([early, late]), calendar)
    for row in np.flatnonzero(opened[len(early) :] <= opened[: len(early)]).tolist():
        yield rows.finding("calendar", row, f"{calendar} was closed during this bar")


def _gaps(rows: BarRows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    """Find gaps: more of the market's open time between two bars than usual."""
    for symbol, places in rows.groups:
        times = np.unique(rows.times[places])
        if len(times) < 2:
            continue
        spent = np.diff(open_time(times, calendar))
        usual = max(int(np.median(spent)), 1)
        absent = np.maximum(np.rint(spent / usual).astype(np.int64) - 1, 0)
        if calendar == ROUND_THE_CLOCK:
            # On such a market any longer step is a gap: no closing time divides the bars.
            absent = np.where(spent > usual, np.maximum(spent // usual - 1, 1), 0)
        for index in np.flatnonzero(absent).tolist():
            count = int(absent[index])
            severity: Severity = "error" if count > thresholds.gap_bars else "warning"
            value = f"{count} bar{' is' if count == 1 else 's are'} missing after this one"
            yield Finding("gap", symbol, iso_moment(times[index]), value, severity, bars=0)
