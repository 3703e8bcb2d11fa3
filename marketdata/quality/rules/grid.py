"""Rules `check_grid` and `check_frequency`: two bars in one period, bars off the grid, a wrong frequency.

A period is a session of the calendar for daily bars, else a step of the usual length. A bar is on the grid
if it closes at a time at which many others close too: by the clock, by the time since its session opened,
or at a session's opening or close.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from marketdata.calendars import ROUND_THE_CLOCK, Moments, schedule, years_of
from marketdata.quality.bar_rows import BarRows, Flags, Indices, iso_moment
from marketdata.quality.finding import Finding
from marketdata.quality.rules.session import DAY, HOUR, usual_step

SECOND = 1_000_000_000
UNITS = {"m": 60 * SECOND, "h": HOUR, "d": DAY, "w": 7 * DAY, "M": 30 * DAY}
UNIT_NAMES = {"m": "minute", "h": "hour", "d": "day", "w": "week"}
# Range of steps of daily bars.
MIN_DAILY_STEP, MAX_DAILY_STEP = 20 * HOUR, 4 * DAY
# A time of day is on the grid if at least this share of the bars close at it, and there is a grid at all if
# at least this share of bars is on it.
MIN_SHARE_AT_TIME, MIN_SHARE_ON_GRID = 0.05, 0.8
# Bars closer than this share of a step belong to one period.
MIN_RELATIVE_DISTANCE = 0.5
# With fewer steps than this, the frequency is not checked.
MIN_STEPS = 5
# A stated frequency is wrong if fewer than a share `MIN_SHARE_OF_STEPS` of the steps are at most
# `MAX_RELATIVE_STEP` times as long, or the usual step is less than `MIN_RELATIVE_STEP` times as long.
MAX_RELATIVE_STEP, MIN_RELATIVE_STEP, MIN_SHARE_OF_STEPS = 1.5, 0.6, 0.02


@dataclass(frozen=True)
class SessionTimes:
    """Sessions of a calendar in the years of some bars: sorted `opens` and `closes`, int64 nanoseconds."""

    opens: Indices
    closes: Indices

    @classmethod
    def of(cls, times: Moments, calendar: str) -> SessionTimes:
        """Return the sessions in the years of `times`."""
        known = schedule(calendar, *years_of(times))
        return cls(known.opens.astype(np.int64), known.closes.astype(np.int64))

    def place(self, times: Moments) -> Indices:
        """Return the session index of each bar.

        This is the last session that opened before the bar's close; -1 before the first.
        """
        places: Indices = np.searchsorted(self.opens, times.astype(np.int64), side="left") - 1
        return places


def check_frequency(rows: BarRows, stated: str) -> Iterator[Finding]:
    """Find bars with steps that differ from the frequency stated by their source."""
    if not stated:
        return
    step = int(stated[:-1]) * UNITS[stated[-1]]
    steps = _steps(rows)
    if len(steps) < MIN_STEPS:
        return
    usual = float(np.median(steps))
    if np.mean(steps <= MAX_RELATIVE_STEP * step) < MIN_SHARE_OF_STEPS or usual < MIN_RELATIVE_STEP * step:
        value = f"bars are said to come every {stated} and come about every {_step_in_words(usual)}"
        yield Finding("frequency", "", "", f"{value}; state the frequency that they have", bars=0)


def check_grid(rows: BarRows, calendar: str) -> Iterator[Finding]:
    """Find second bars of a period, and bars that close off the grid."""
    step = usual_step(rows)
    daily = MIN_DAILY_STEP <= step <= MAX_DAILY_STEP
    sessions = None if calendar == ROUND_THE_CLOCK else SessionTimes.of(rows.times, calendar)
    on_grid = _on_grid(rows.times, step, sessions)
    regular = step <= MAX_DAILY_STEP and float(np.mean(on_grid)) >= MIN_SHARE_ON_GRID
    wrong: dict[int, Finding] = {}
    if regular:
        for row in np.flatnonzero(~on_grid).tolist():
            wrong[row] = rows.finding("grid", row, "it closes between the usual times of bars", "warning")
    if daily or step > MAX_DAILY_STEP or regular:
        for row, other in _twice(rows, step, sessions, on_grid, daily):
            period = f"session of {calendar}" if daily and sessions else "step"
            value = f"another bar of this {period} closes at {iso_moment(rows.times[other])}"
            wrong[row] = rows.finding("grid", row, value)
    yield from (finding for _, finding in sorted(wrong.items()))


def _twice(
    rows: BarRows, step: int, sessions: SessionTimes | None, on_grid: Flags, daily: bool
) -> Iterator[tuple[int, int]]:
    """Yield rows in a period of another row of the symbol, with that other row.

    Of two rows, the one on the grid stays.
    """
    edges = np.array([], np.int64) if sessions is None else np.r_[sessions.opens, sessions.closes]
    for _, places in rows.groups:
        times = rows.times[places]
        apart = np.diff(times).astype(np.int64)
        if daily and sessions is not None:
            same = (np.diff(sessions.place(times)) == 0) & (apart < MIN_DAILY_STEP)
        else:
            same = apart < MIN_RELATIVE_DISTANCE * step
            if not daily and step < MIN_DAILY_STEP:
                # The last bar of a session may be short, and so may the first after its opening.
                edge = np.isin(times.astype(np.int64), edges)
                same &= ~(edge[1:] | edge[:-1])
        # Equal timestamps are reported by the rule `unique`.
        for index in np.flatnonzero(same & (apart > 0)).tolist():
            earlier, later = int(places[index]), int(places[index + 1])
            stays = earlier if on_grid[earlier] or not on_grid[later] else later
            yield (later, earlier) if stays == earlier else (earlier, later)


def _on_grid(times: Moments, step: int, sessions: SessionTimes | None) -> Flags:
    """Return True for bars that close at a usual time, to the second."""
    stamps = times.astype(np.int64)
    length = max(min(step, DAY) if step < MIN_DAILY_STEP else DAY, SECOND)
    usual = _common(stamps % length // SECOND)
    if sessions is None or not len(sessions.opens):
        return usual
    index = sessions.place(times)
    since = stamps - sessions.opens[np.maximum(index, 0)]
    usual |= _common(since % length // SECOND) & (index >= 0)
    on_grid: Flags = usual | np.isin(stamps, sessions.opens) | np.isin(stamps, sessions.closes)
    return on_grid


def _common(phases: Indices) -> Flags:
    """Return True for phases that occur in at least two rows and a twentieth of all."""
    _, inverse, counts = np.unique(phases, return_inverse=True, return_counts=True)
    common: Flags = (counts >= max(2.0, MIN_SHARE_AT_TIME * len(phases)))[inverse]
    return common


def _steps(rows: BarRows) -> Indices:
    steps = [np.diff(np.unique(rows.times[places])).astype(np.int64) for _, places in rows.groups]
    together: Indices = np.concatenate(steps) if steps else np.array([], dtype=np.int64)
    return together


def _step_in_words(step: float) -> str:
    """Format a step in words: `15 minutes`, `1 day`."""
    unit = next(unit for unit in ("w", "d", "h", "m") if step >= 0.9 * UNITS[unit] or unit == "m")
    count = f"{step / UNITS[unit]:.3g}"
    return f"{count} {UNIT_NAMES[unit]}{'' if count == '1' else 's'}"
