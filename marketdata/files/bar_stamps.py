"""Meaning of a bar's stamp in a user's file: close, opening, or date of the session.

Bars are identified by their close. The meaning of a stamp is stated (`stamp=open|close|date`), or follows
from the calendar: a bare date is its session's, and so is a midnight in daily bars of an exchange, where no
bar can close then. Ambiguous stamps are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError, InputError
from marketdata.calendars import (
    DAY,
    FOREX,
    ROUND_THE_CLOCK,
    Days,
    Moments,
    closes_of,
    days_of,
    is_always_open,
    schedule,
    years_of,
)

OPEN, CLOSE, DATE = "open", "close", "date"
STAMPS = (OPEN, CLOSE, DATE)
STAMP_HINT = "say what a stamp means: stamp=open, stamp=close or stamp=date, as in folder:bars?stamp=open"
HOUR = np.timedelta64(1, "h")
INTRADAY_UNITS = {"m": np.timedelta64(1, "m"), "h": HOUR}
# Minimum steps of bars of a day or more, of a week or more, and of a month or more.
MIN_DAILY_STEP, MIN_WEEKLY_STEP, MIN_MONTHLY_STEP = 20 * HOUR, 5 * DAY, 25 * DAY
# Minimum number of bars to infer that a file holds weeks.
MIN_WEEKS = 4
SUNDAY, TUESDAY = 6, 1
# Earliest day of a date that marks the end of a month.
MIN_MONTH_END = 20
NO_TIME = np.datetime64("NaT", "ns")
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BarStamps:
    """Stamps of bars as written, in the order of the rows.

    `moments` is `datetime64[ns]` in UTC, NaT for a bare date; `dates` the written date, `datetime64[D]`;
    `midnight` is True where the written time is 00:00 or missing.
    """

    moments: Moments
    dates: Days
    midnight: Flags

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def bare(self) -> Flags:
        """True where a stamp is a date without a time."""
        return np.isnat(self.moments)

    @property
    def order(self) -> Moments:
        """Moments for sorting, bare dates as midnights in UTC."""
        return np.where(self.bare, self.dates.astype("datetime64[ns]"), self.moments)


@dataclass(frozen=True)
class StampRule:
    """Meaning of stamps: as stated, or by the calendar where `stamp` is empty.

    `frequency` is that of the bars, empty where it is not known. `own` marks bars in the columns that this
    platform writes: there, a midnight at which a bar may close is its close.
    """

    calendar: str
    stamp: str = ""
    frequency: str = ""
    own: bool = False

    def __post_init__(self) -> None:
        if self.stamp not in ("", *STAMPS):
            raise InputError(f"stamp is '{self.stamp}'; write {', '.join(STAMPS[:2])} or {STAMPS[2]}")

    @property
    def midnights_are_dates(self) -> bool:
        """True where a midnight without a time zone is a date.

        pandas and spreadsheets write dates in this form.
        """
        if self.frequency[-1:] in INTRADAY_UNITS or self.stamp == CLOSE:
            return False
        return self.stamp in (OPEN, DATE) or self.calendar not in (ROUND_THE_CLOCK, FOREX)

    def closes(self, stamps: BarStamps, symbols: npt.NDArray[np.object_], label: str) -> Moments:
        """Return the closes of the bars, `datetime64[ns]` in UTC.

        `DataError` where they cannot be determined.
        """
        if not len(stamps):
            return stamps.moments
        step = _step(stamps.order, symbols)
        unit = self._unit(step)
        if self.stamp == CLOSE:
            return self._dated(stamps, stamps.bare, unit)
        if self.stamp == DATE:
            self._require_daily(unit, label)
            return self._dated(self._on_the_spot(stamps), np.ones(len(stamps), dtype=bool), unit)
        if self.stamp == OPEN:
            return self._opened(self._on_the_spot(stamps), unit, label)
        if unit in INTRADAY_UNITS:
            return self._dated(stamps, stamps.bare, unit)
        stamps = self._on_the_spot(stamps)
        midnights = stamps.midnight & ~stamps.bare
        dated = stamps.midnight
        if midnights.any() and is_always_open(self.calendar, stamps.moments[midnights]):
            self._require_own(stamps, midnights, label)
            dated = stamps.bare
        if unit != "d":
            self._require_ends(stamps.dates, dated, unit, label)
        return self._dated(stamps, dated, unit)

    def _require_own(self, stamps: BarStamps, midnights: Flags, label: str) -> None:
        if not self.own:
            row = int(np.flatnonzero(midnights)[0])
            raise DataError(
                f"{label}: column 'timestamp', row {row + 1} is a midnight ({stamps.dates[row]}), and a "
                f"bar of {self.calendar} may open or close then, or be of that date; {STAMP_HINT}"
            )

    def _unit(self, step: np.timedelta64 | None) -> str:
        """Return the unit of the bars' frequency: as stated, or as observed where days are stated."""
        unit = self.frequency[-1:]
        if unit in INTRADAY_UNITS or (unit in ("", "d") and step is not None and step < MIN_DAILY_STEP):
            return unit if unit in INTRADAY_UNITS else "h"
        if unit in ("w", "M") or step is None or step < MIN_WEEKLY_STEP:
            return unit or "d"
        return "w" if step < MIN_MONTHLY_STEP else "M"

    @property
    def _count(self) -> int:
        return int(self.frequency[:-1] or 1)

    def _require_daily(self, unit: str, label: str) -> None:
        if unit in INTRADAY_UNITS:
            raise DataError(f"{label}: stamp=date is for bars of a day or more, and these are shorter")

    def _require_ends(self, dates: Days, dated: Flags, unit: str, label: str) -> None:
        """Raise `DataError` if a date may be the first or the last day of its week or month."""
        weekdays = (dates.astype(np.int64) + 3) % 7
        if unit == "w":
            unclear = (weekdays == SUNDAY) | (weekdays <= TUESDAY)
        else:
            unclear = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1 < MIN_MONTH_END
        unclear = dated & (unclear | (self.calendar == ROUND_THE_CLOCK))
        if unclear.any():
            row = int(np.flatnonzero(unclear)[0])
            length = "week" if unit == "w" else "month"
            raise DataError(
                f"{label}: column 'timestamp', row {row + 1} is {dates[row]}, which may be the first day of "
                f"its {length} or the last; {STAMP_HINT}"
            )

    def _on_the_spot(self, stamps: BarStamps) -> BarStamps:
        """Return `stamps` with midnights of the market's local time marked, in any written zone."""
        if self.calendar == ROUND_THE_CLOCK or stamps.bare.all():
            return stamps
        times = stamps.moments[~stamps.bare]
        local = _local(times, schedule(self.calendar, *years_of(times)).zone)
        at_midnight = np.zeros(len(stamps), dtype=bool)
        at_midnight[~stamps.bare] = local == local.astype("datetime64[D]")
        dates = stamps.dates.copy()
        dates[at_midnight] = local[at_midnight[~stamps.bare]].astype("datetime64[D]")
        return BarStamps(stamps.moments, dates, stamps.midnight | at_midnight)

    def _dated(self, stamps: BarStamps, dated: Flags, unit: str) -> Moments:
        """Return the moments; where `dated`, the close of the date's session."""
        closes = stamps.moments.copy()
        if dated.any():
            days = stamps.dates[dated]
            whole = unit in ("w", "M")
            closes[dated] = self._last_closes(days, 7 * DAY) if whole else self._session_closes(days)
        return closes

    def _session_closes(self, days: Days) -> Moments:
        unique, index = np.unique(days, return_inverse=True)
        dates: list[date] = unique.tolist()
        return closes_of(dates, self.calendar)[index]

    def _last_closes(self, days: Days, within: np.timedelta64 | npt.NDArray[np.timedelta64]) -> Moments:
        """Return the close of the last session within `within` up to each day, else the day's."""
        closes = self._session_closes(days)
        if self.calendar == ROUND_THE_CLOCK:
            return closes
        known = schedule(self.calendar, *years_of(np.r_[days - 40 * DAY, days]))
        index = np.searchsorted(known.days, days, side="right") - 1
        near = (index >= 0) & (days - known.days[np.maximum(index, 0)] < within)
        return np.where(near, known.closes[np.maximum(index, 0)], closes)

    def _opened(self, stamps: BarStamps, unit: str, label: str) -> Moments:
        """Return the closes of bars that are stamped with their opening."""
        if unit in INTRADAY_UNITS:
            if stamps.bare.any():
                raise DataError(
                    f"{label}: stamp=open needs the time of bars shorter than a day, and there is none"
                )
            if self.frequency[-1:] != unit:
                raise DataError(
                    f"{label}: these bars are shorter than a day; write their length, as in frequency=1h"
                )
            return self._until_closed(stamps.moments, stamps.moments + self._count * INTRADAY_UNITS[unit])
        if unit == "d" and self._count == 1:
            return self._opened_days(stamps)
        # The day after the last of each period.
        after = _AFTER[unit](stamps.dates, self._count if self.frequency[-1:] == unit else 1, self.calendar)
        if self.calendar == ROUND_THE_CLOCK:
            return stamps.order + (after - stamps.dates)
        return self._last_closes(after - DAY, after - stamps.dates)

    def _opened_days(self, stamps: BarStamps) -> Moments:
        if self.calendar == ROUND_THE_CLOCK:
            return stamps.order + DAY
        dates, rest = stamps.dates.copy(), ~stamps.midnight
        # A bar that opens at a moment belongs to the market day right after that moment.
        dates[rest] = days_of(stamps.moments[rest] + np.timedelta64(1, "ns"), self.calendar)
        closes = self._session_closes(dates)
        if self.calendar == FOREX:
            # A daily bar from midnight on does not end at 17:00 in New York but at the next midnight.
            whole = stamps.midnight & ~stamps.bare
            closes[whole] = self._until_closed(stamps.moments[whole], stamps.moments[whole] + DAY)
        return closes

    def _until_closed(self, opened: Moments, ends: Moments) -> Moments:
        """Return `ends`, or the market's earlier close: a session's last bar ends with it."""
        if self.calendar == ROUND_THE_CLOCK or not len(ends):
            return ends
        starts, closes = schedule(self.calendar, *years_of(np.r_[opened, ends])).open_intervals
        index = np.searchsorted(starts, ends, side="left") - 1
        last = closes[np.maximum(index, 0)]
        return np.where((index >= 0) & (last > opened) & (last < ends), last, ends)


def _days_after(dates: Days, count: int, calendar: str) -> Days:
    """Return the day after the last of `count` market days from each date on."""
    if calendar == ROUND_THE_CLOCK:
        return dates + count * DAY
    known = schedule(calendar, *years_of(np.r_[dates, dates + 3 * count * DAY])).days
    index = np.minimum(np.searchsorted(known, dates) + count - 1, len(known) - 1)
    return known[index] + DAY


def _weeks_after(dates: Days, count: int, calendar: str) -> Days:
    """Return the day after the last of `count` weeks from each date on.

    Weeks begin on Sunday for a date on a Sunday, else on Monday.
    """
    if calendar == ROUND_THE_CLOCK:
        return dates + 7 * count * DAY
    weekdays = (dates.astype(np.int64) + 3) % 7
    return dates - np.where(weekdays == SUNDAY, 0, weekdays) * DAY + 7 * count * DAY


def _months_after(dates: Days, count: int, calendar: str) -> Days:
    """Return the day after the last of `count` calendar months."""
    months = dates.astype("datetime64[M]")
    return (months + count).astype("datetime64[D]")


_AFTER: dict[str, Callable[[Days, int, str], Days]] = {
    "d": _days_after,
    "w": _weeks_after,
    "M": _months_after,
}


def _step(times: Moments, symbols: npt.NDArray[np.object_]) -> np.timedelta64 | None:
    """Return the usual time between a symbol's bars; None where no symbol has two bars.

    Days and weeks are distinguished by the shortest step: a daily file may have few bars.
    """
    order = np.lexsort((times, symbols.astype(str)))
    same = symbols[order][1:] == symbols[order][:-1]
    steps = np.diff(times[order])[same]
    steps = steps[steps > np.timedelta64(0)]
    if not len(steps):
        return None
    usual: np.timedelta64 = np.sort(steps)[len(steps) // 2]
    weeks = len(steps) >= MIN_WEEKS - 1 and steps.min() >= MIN_WEEKLY_STEP
    return usual if weeks else min(usual, MIN_WEEKLY_STEP - DAY)


def _local(times: Moments, zone: ZoneInfo) -> Moments:
    """Return the local times of a zone at `times`, `datetime64[ns]` without a zone."""
    import pandas as pd

    shown: Moments = pd.DatetimeIndex(times, tz="UTC").tz_convert(zone).tz_localize(None).to_numpy()
    return shown.astype("datetime64[ns]")
