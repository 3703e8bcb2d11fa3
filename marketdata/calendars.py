"""Trading calendars: open hours, session closes, and the market day of a bar.

`XNYS` and every other exchange are those of exchange-calendars, by market identifier code (ISO 10383).
`24/7` never closes. `24/5` is foreign exchange: open from Sunday 17:00 to Friday 17:00 in New York, where
daylight saving time moves it against UTC; its day ends at 17:00 there.

A day is a day of the market. On an exchange, a day is a session with the trading before and after it, from
midnight to midnight of local time (from its opening, where the session opens on the evening before); on
`24/7`, a day of UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from alphaloop.bars import to_datetime, to_datetime64
from alphaloop.errors import DataError, UnknownNameError

ROUND_THE_CLOCK, FOREX = "24/7", "24/5"
CALENDARS = ("XNYS", ROUND_THE_CLOCK, FOREX)
FOREX_ZONE, FOREX_HOUR = ZoneInfo("America/New_York"), time(17)
FRIDAY = 4
# datetime64[ns] reaches beyond both years; a bar outside of them has a broken timestamp.
FIRST_YEAR, LAST_YEAR = 1800, 2200
# With sessions at least this long, a market has no night: a bar may close at any hour.
MIN_ROUND_THE_CLOCK = np.timedelta64(20, "h")
DAY = np.timedelta64(1, "D")
# Resolution of `datetime`: a day begins one tick after the end of the day before.
RESOLUTION = timedelta(microseconds=1)

Moments = npt.NDArray[np.datetime64]
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Schedule:
    """Sessions of some years: days, opening and closing times, and lunch breaks.

    Arrays are `[sessions]`; times are `datetime64[ns]` in UTC, with NaT where there is no break. `zone` is
    the market's time zone.
    """

    days: Days
    opens: Moments
    closes: Moments
    break_starts: Moments
    break_ends: Moments
    zone: ZoneInfo

    @cached_property
    def open_intervals(self) -> tuple[Moments, Moments]:
        """Start and end of each open interval, sorted; lunch breaks are left out."""
        rests = ~np.isnat(self.break_starts)
        starts = np.concatenate([self.opens, self.break_ends[rests]])
        ends = np.concatenate([np.where(rests, self.break_starts, self.closes), self.closes[rests]])
        order = np.argsort(starts, kind="stable")
        return starts[order], ends[order]

    @property
    def always_open(self) -> bool:
        """True where sessions last (nearly) from one to the next."""
        return bool(len(self.days)) and bool(
            np.median(self.closes - self.opens).astype("timedelta64[ns]") >= MIN_ROUND_THE_CLOCK
        )

    @cached_property
    def usual_close(self) -> time:
        """Local time at which most sessions close."""
        if not len(self.days):
            return time(16)
        locally = [to_datetime(close).astimezone(self.zone).time() for close in self.closes[-250:]]
        return max(set(locally), key=locally.count)


def require_calendar(calendar: str) -> None:
    """Raise `UnknownNameError` for a calendar that is neither in `CALENDARS` nor an exchange's."""
    if calendar in CALENDARS:
        return
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=False)
    if calendar not in known:
        raise UnknownNameError("calendar", calendar, {*CALENDARS, *known})


def session_closes(first: date, last: date, calendar: str = "XNYS") -> Moments:
    """Return the closing times of the sessions from `first` to `last`.

    Parameters
    ----------
    first, last
        First and last day, both included.
    calendar
        `24/7`, `24/5` or the market identifier code of an exchange.

    Returns
    -------
    numpy.ndarray
        Closing times in UTC, datetime64[ns] of shape [sessions], sorted.

    Raises
    ------
    DataError
        If the calendar does not reach these years.

    Examples
    --------
    >>> from datetime import date
    >>> from marketdata.calendars import session_closes
    >>> session_closes(date(2020, 7, 2), date(2020, 7, 6)).astype("datetime64[m]").tolist()
    [datetime.datetime(2020, 7, 2, 20, 0), datetime.datetime(2020, 7, 6, 20, 0)]
    """
    known = schedule(calendar, first.year, last.year)
    return known.closes[(known.days >= np.datetime64(first)) & (known.days <= np.datetime64(last))]


def session_days(first: date, last: date, calendar: str = "XNYS") -> Days:
    """Return the days of the sessions from `first` to `last`, `datetime64[D]`, sorted."""
    days = schedule(calendar, first.year, last.year).days
    return days[(days >= np.datetime64(first)) & (days <= np.datetime64(last))]


def closes_of(days: Sequence[date], calendar: str = "XNYS") -> Moments:
    """Return the close of each day's session, `datetime64[ns]` in UTC.

    For a day without a session: the usual close of the exchange, or 17:00 in New York in foreign exchange. A
    day of `24/7` ends at the midnight after it.
    """
    if not len(days):
        return np.array([], dtype="datetime64[ns]")
    dates = np.array(days, dtype="datetime64[D]")
    if calendar == ROUND_THE_CLOCK:
        midnights: Moments = (dates + DAY).astype("datetime64[ns]")
        return midnights
    if calendar == FOREX:
        return np.array([_forex_close(day) for day in dates.tolist()], dtype="datetime64[ns]")
    known = schedule(calendar, dates.min().item().year, dates.max().item().year)
    index = np.minimum(np.searchsorted(known.days, dates), max(len(known.days) - 1, 0))
    closes = np.full(len(dates), np.datetime64("NaT", "ns"))
    if len(known.days):
        closes = np.where(known.days[index] == dates, known.closes[index], closes)
    for row in np.flatnonzero(np.isnat(closes)).tolist():
        closes[row] = _moment(dates[row].item(), known.usual_close, known.zone)
    return closes


def days_of(moments: Moments, calendar: str) -> Days:
    """Return the market day of a bar that closes at each moment.

    A close at the end of a day belongs to that day.

    Parameters
    ----------
    moments
        Closing times in UTC, datetime64[ns] of shape [T].
    calendar
        Name of the calendar; days are those of UTC where it is empty.

    Returns
    -------
    numpy.ndarray
        Days, datetime64[D] of shape [T].

    Raises
    ------
    DataError
        If the calendar does not reach these years.

    Examples
    --------
    >>> import numpy as np
    >>> from marketdata.calendars import days_of
    >>> thursday_evening = np.array(["2024-03-07T22:30"], dtype="datetime64[ns]")
    >>> days_of(thursday_evening, "24/5").tolist()  # after 17:00 in New York: the next trading day
    [datetime.date(2024, 3, 8)]
    """
    stamps = moments.astype("datetime64[ns]")
    if not len(stamps):
        return np.array([], dtype="datetime64[D]")
    if calendar in ("", ROUND_THE_CLOCK):
        return (stamps - np.timedelta64(1, "ns")).astype("datetime64[D]")
    first, starts = _day_starts(calendar, *years_of(stamps))
    return first + (np.searchsorted(starts, stamps, side="left") - 1)


def day_ends(days: Days, calendar: str) -> Moments:
    """Return the last possible close of each market day, `datetime64[ns]` in UTC."""
    dates = days.astype("datetime64[D]")
    if not len(dates) or calendar in ("", ROUND_THE_CLOCK):
        return (dates + DAY).astype("datetime64[ns]")
    first, starts = _day_starts(calendar, *years_of(dates))
    return starts[(dates - first).astype(np.int64) + 1]


def day_span(day: date, calendar: str) -> tuple[datetime, datetime]:
    """Return the first and last moment at which a bar of this day can close.

    Both are aware, and both included. For a date that the calendar does not reach, the day is one of UTC.
    """
    require_calendar(calendar)
    days = np.array([day - timedelta(days=1), day], dtype="datetime64[D]")
    try:
        before, end = day_ends(days, calendar)
    except DataError:
        before, end = day_ends(days, "")
    return to_datetime(before) + RESOLUTION, to_datetime(end)


def open_time(moments: Moments, calendar: str) -> npt.NDArray[np.int64]:
    """Return the cumulative open time of the market at each moment, int64 nanoseconds.

    Only differences mean anything. `moments` is `datetime64[ns]` in UTC; the origin is the beginning of the
    earliest one's year. An exchange is not open during its lunch break.
    """
    stamps = moments.astype("datetime64[ns]").astype(np.int64)
    if calendar == ROUND_THE_CLOCK or not len(stamps):
        return stamps
    intervals = schedule(calendar, *years_of(moments)).open_intervals
    opens, closes = (ends.astype(np.int64) for ends in intervals)
    before = np.concatenate([[0], np.cumsum(closes - opens)])
    index = np.searchsorted(opens, stamps, side="right") - 1
    inside = np.where(index >= 0, np.minimum(stamps, closes[index]) - opens[index], 0)
    elapsed: npt.NDArray[np.int64] = before[np.maximum(index, 0)] + inside
    return elapsed


def session_predicate(calendar: str) -> Callable[[datetime, datetime], bool]:
    """Return a function: True if the market was open between two moments."""
    require_calendar(calendar)

    def opened(start: datetime, end: datetime) -> bool:
        moments = np.array([to_datetime64(start), to_datetime64(end)])
        first, last = open_time(moments, calendar)
        return bool(last > first)

    return opened


def is_always_open(calendar: str, moments: Moments) -> bool:
    """Return True where the market had no night in the years of `moments`.

    There, a bar may close at any hour.
    """
    if calendar in (ROUND_THE_CLOCK, FOREX):
        return True
    return bool(len(moments)) and schedule(calendar, *years_of(moments)).always_open


@lru_cache(maxsize=256)
def schedule(calendar: str, first_year: int, last_year: int) -> Schedule:
    """Return the sessions of these years and of the rest of their decades.

    Years that the calendar does not reach are left out if they were not requested; `DataError` if they were.
    """
    if not FIRST_YEAR <= first_year <= last_year <= LAST_YEAR:
        years = f"{FIRST_YEAR} to {LAST_YEAR}"
        raise DataError(
            f"calendar {calendar} covers {years}, and there are bars of {first_year} to {last_year}"
        )
    decades = (max(first_year // 10 * 10, FIRST_YEAR), min(last_year // 10 * 10 + 9, LAST_YEAR))
    try:
        # A calendar is slow to build: one of whole decades serves a stream for years.
        return _schedule(calendar, *decades)
    except DataError:
        if decades == (first_year, last_year):
            raise
        return _schedule(calendar, first_year, last_year)


@lru_cache(maxsize=64)
def _schedule(calendar: str, first_year: int, last_year: int) -> Schedule:
    if calendar == FOREX:
        return _forex_days(first_year, last_year)
    import exchange_calendars

    try:
        exchange = exchange_calendars.get_calendar(
            calendar, start=f"{first_year:04}-01-01", end=f"{last_year:04}-12-31"
        )
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"calendar {calendar} does not reach from {first_year} to {last_year}: {error}"
        ) from error
    opens, closes, break_starts, break_ends = (
        column.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
        for column in (exchange.opens, exchange.closes, exchange.break_starts, exchange.break_ends)
    )
    days = exchange.sessions.to_numpy().astype("datetime64[D]")
    return Schedule(days, opens, closes, break_starts, break_ends, ZoneInfo(str(exchange.tz)))


@lru_cache(maxsize=64)
def _day_starts(calendar: str, first_year: int, last_year: int) -> tuple[np.datetime64, Moments]:
    """Return the first of a row of days, and the moment after which each of them begins.

    The row ends a day after the last. Bars that close in the first or last hours of a UTC year may belong to
    a day outside of it, so the row is longer than the years.
    """
    first, last = date(first_year, 1, 1) - timedelta(days=2), date(last_year, 12, 31) + timedelta(days=3)
    days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    if calendar == FOREX:
        starts = [_forex_close(day - timedelta(days=1)) for day in days]
        return np.datetime64(first), np.array(starts, dtype="datetime64[ns]")
    known = schedule(calendar, first_year, last_year)
    within = (known.days >= np.datetime64(first)) & (known.days <= np.datetime64(last))
    midnights = np.array([_moment(day, time(), known.zone) for day in days], dtype="datetime64[ns]")
    # A session that opens on the evening before its day includes that evening.
    index = (known.days[within] - np.datetime64(first)).astype(np.int64)
    midnights[index] = np.minimum(midnights[index], known.opens[within])
    return np.datetime64(first), midnights


def _forex_days(first_year: int, last_year: int) -> Schedule:
    """Build the sessions of foreign exchange.

    A session ends at 17:00 in New York on each weekday and begins a day before; Monday's begins on Sunday.
    """
    first, last = date(first_year, 1, 1), date(last_year, 12, 31)
    days = [first + timedelta(days=count) for count in range((last - first).days + 2)]
    weekdays = [day for day in days if day.weekday() <= FRIDAY]
    opens = np.array([_forex_close(day - timedelta(days=1)) for day in weekdays], dtype="datetime64[ns]")
    closes = np.array([_forex_close(day) for day in weekdays], dtype="datetime64[ns]")
    never = np.full(len(weekdays), np.datetime64("NaT", "ns"))
    return Schedule(np.array(weekdays, dtype="datetime64[D]"), opens, closes, never, never, FOREX_ZONE)


def _forex_close(day: date) -> np.datetime64:
    return _moment(day, FOREX_HOUR, FOREX_ZONE)


def _moment(day: date, clock: time, zone: ZoneInfo) -> np.datetime64:
    """Return the moment at which the local time in `zone` is `clock` on that day."""
    return np.datetime64(datetime.combine(day, clock, zone).astimezone(UTC).replace(tzinfo=None), "ns")


def years_of(moments: Moments) -> tuple[int, int]:
    """Return the first and the last year of UTC among the moments."""
    years = moments.astype("datetime64[Y]")
    return int(str(years.min())), int(str(years.max()))
