"""Trading calendars: when a market's sessions close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from alphaloop.errors import UnknownNameError

CALENDARS = ("XNYS", "24/7")
# What a close is taken to be on a day that the calendar does not know: 16:00 in New York, in winter.
DEFAULT_CLOSE = np.timedelta64(21, "h")

Moments = npt.NDArray[np.datetime64]


def require_calendar(calendar: str) -> None:
    """Raise `UnknownNameError` for a calendar that is not one of `CALENDARS`."""
    if calendar not in CALENDARS:
        raise UnknownNameError("calendar", calendar, CALENDARS)


def session_closes(first: date, last: date, calendar: str = "XNYS") -> Moments:
    """The closes of the exchange's sessions from `first` to `last`, `datetime64[ns]` in UTC, sorted."""
    closes = _exchange_closes(calendar, first.year, last.year)
    after = np.datetime64(last + timedelta(days=1), "ns")
    return closes[(closes >= np.datetime64(first, "ns")) & (closes < after)]


def closes_of(days: Sequence[date], calendar: str = "XNYS") -> Moments:
    """The close of each day's session, `datetime64[ns]` in UTC; 21:00 where there was no session."""
    if not len(days):
        return np.array([], dtype="datetime64[ns]")
    wanted = np.array(days, dtype="datetime64[D]")
    if calendar == "24/7":
        midnights: Moments = (wanted + np.timedelta64(1, "D")).astype("datetime64[ns]")
        return midnights
    closes = session_closes(wanted.min().item(), wanted.max().item(), calendar)
    sessions = closes.astype("datetime64[D]")
    place = np.minimum(np.searchsorted(sessions, wanted), max(len(sessions) - 1, 0))
    fallback: Moments = (wanted.astype("datetime64[h]") + DEFAULT_CLOSE).astype("datetime64[ns]")
    if not len(sessions):
        return fallback
    closing: Moments = np.where(sessions[place] == wanted, closes[place], fallback)
    return closing


@lru_cache(maxsize=16)
def _exchange_closes(calendar: str, first_year: int, last_year: int) -> Moments:
    import exchange_calendars

    exchange = exchange_calendars.get_calendar(
        calendar, start=f"{first_year}-01-01", end=f"{last_year}-12-31"
    )
    closes: Moments = exchange.closes.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    return closes
