"""Trading calendars: when a market is open and when its sessions close.

`XNYS` and every other exchange are those of exchange-calendars, by their market identifier code.
`24/7` never closes. `24/5` is foreign exchange: open from Sunday 17:00 to Friday 17:00 in New York,
whose summer time moves it against UTC; its day ends at 17:00 there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError, UnknownNameError
from alphaloop.market import to_datetime64

ROUND_THE_CLOCK, FOREX = "24/7", "24/5"
CALENDARS = ("XNYS", ROUND_THE_CLOCK, FOREX)
# What a close is taken to be on a day that the calendar does not know: 16:00 in New York, in winter.
DEFAULT_CLOSE = np.timedelta64(21, "h")
FOREX_ZONE, FOREX_HOUR = ZoneInfo("America/New_York"), time(17)
FRIDAY = 4
# What datetime64[ns] holds with room to spare; a bar outside of it is a broken timestamp.
FIRST_YEAR, LAST_YEAR = 1800, 2200

Moments = npt.NDArray[np.datetime64]


def require_calendar(calendar: str) -> None:
    """Raise `UnknownNameError` for a calendar that is neither in `CALENDARS` nor an exchange's."""
    if calendar in CALENDARS:
        return
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=False)
    if calendar not in known:
        raise UnknownNameError("calendar", calendar, {*CALENDARS, *known})


def session_closes(first: date, last: date, calendar: str = "XNYS") -> Moments:
    """The closes of the sessions from `first` to `last`, `datetime64[ns]` in UTC, sorted."""
    closes = _sessions(calendar, first.year, last.year)[:, 1]
    after = np.datetime64(last + timedelta(days=1), "ns")
    return closes[(closes >= np.datetime64(first, "ns")) & (closes < after)]


def closes_of(days: Sequence[date], calendar: str = "XNYS") -> Moments:
    """The close of each day's session, `datetime64[ns]` in UTC.

    Where there was no session: 21:00 on an exchange, 17:00 in New York in foreign exchange. A day of
    `24/7` ends at the midnight after it.
    """
    if not len(days):
        return np.array([], dtype="datetime64[ns]")
    wanted = np.array(days, dtype="datetime64[D]")
    if calendar == ROUND_THE_CLOCK:
        midnights: Moments = (wanted + np.timedelta64(1, "D")).astype("datetime64[ns]")
        return midnights
    if calendar == FOREX:
        return np.array([_forex_close(day) for day in wanted.tolist()], dtype="datetime64[ns]")
    closes = session_closes(wanted.min().item(), wanted.max().item(), calendar)
    sessions = closes.astype("datetime64[D]")
    place = np.minimum(np.searchsorted(sessions, wanted), max(len(sessions) - 1, 0))
    fallback: Moments = (wanted.astype("datetime64[h]") + DEFAULT_CLOSE).astype("datetime64[ns]")
    if not len(sessions):
        return fallback
    closing: Moments = np.where(sessions[place] == wanted, closes[place], fallback)
    return closing


def open_time(moments: Moments, calendar: str) -> npt.NDArray[np.int64]:
    """How long the market has been open at each moment since it opened first: int64 nanoseconds.

    Only differences mean anything. `moments` is `datetime64[ns]` in UTC; the origin is the beginning of
    the earliest one's year.
    """
    stamps = moments.astype("datetime64[ns]").astype(np.int64)
    if calendar == ROUND_THE_CLOCK or not len(stamps):
        return stamps
    years = moments.astype("datetime64[Y]")
    sessions = _sessions(calendar, int(str(years.min())), int(str(years.max()))).astype(np.int64)
    opens, closes = sessions[:, 0], sessions[:, 1]
    before = np.concatenate([[0], np.cumsum(closes - opens)])
    place = np.searchsorted(opens, stamps, side="right") - 1
    inside = np.where(place >= 0, np.minimum(stamps, closes[place]) - opens[place], 0)
    elapsed: npt.NDArray[np.int64] = before[np.maximum(place, 0)] + inside
    return elapsed


def any_session(calendar: str) -> Callable[[datetime, datetime], bool]:
    """Whether the market was open at any time between two moments, as a function of them."""
    require_calendar(calendar)

    def opened(start: datetime, end: datetime) -> bool:
        moments = np.array([to_datetime64(start), to_datetime64(end)])
        first, last = open_time(moments, calendar)
        return bool(last > first)

    return opened


@lru_cache(maxsize=64)
def _sessions(calendar: str, first_year: int, last_year: int) -> Moments:
    """Opens and closes `[sessions, 2]` of these years, `datetime64[ns]` in UTC, sorted."""
    if not FIRST_YEAR <= first_year <= last_year <= LAST_YEAR:
        years = f"{FIRST_YEAR} to {LAST_YEAR}"
        raise DataError(
            f"calendar {calendar} covers {years}, and there are bars of {first_year} to {last_year}"
        )
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
    ends = [
        column.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
        for column in (exchange.opens, exchange.closes)
    ]
    sessions: Moments = np.column_stack(ends)
    return sessions


def _forex_days(first_year: int, last_year: int) -> Moments:
    """A session ends at 17:00 in New York on each weekday and begins a day before, on Monday with Sunday."""
    first, last = date(first_year, 1, 1), date(last_year, 12, 31)
    days = [first + timedelta(days=count) for count in range((last - first).days + 2)]
    weekdays = [day for day in days if day.weekday() <= FRIDAY]
    sessions = [(_forex_close(day - timedelta(days=1)), _forex_close(day)) for day in weekdays]
    return np.array(sessions, dtype="datetime64[ns]")


def _forex_close(day: date) -> np.datetime64:
    moment = datetime.combine(day, FOREX_HOUR, FOREX_ZONE).astimezone(ZoneInfo("UTC"))
    return np.datetime64(moment.replace(tzinfo=None), "ns")
