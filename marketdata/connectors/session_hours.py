"""Regular hours of New York's exchanges: bars inside them, and their closing times."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from marketdata.calendars import Moments, session_closes

TIME_ZONE = "America/New_York"
OPENING = time(9, 30)


def new_york_days(moments: Moments) -> npt.NDArray[np.datetime64]:
    """Return the day in New York of each moment (`datetime64[ns]` in UTC), `datetime64[D]`."""
    if not len(moments):
        return np.array([], dtype="datetime64[D]")
    import pandas as pd

    local = pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(TIME_ZONE).tz_localize(None)
    days: npt.NDArray[np.datetime64] = local.to_numpy().astype("datetime64[D]")
    return days


def regular_closes(starts: Moments, period: timedelta) -> Moments:
    """Return the closes of bars that begin at `starts` (`datetime64[ns]` in UTC).

    NaT outside of the session. The last bar of a session ends with it, even where its period would not. A bar
    that only overlaps the opening is kept: venues cut hours by the clock, and the exchange opens at half
    past.
    """
    ends = starts + np.timedelta64(period)
    closed = np.full(len(starts), np.datetime64("NaT", "ns"))
    if not len(starts):
        return closed
    days = new_york_days(starts)
    closes = session_closes(days.min().item(), days.max().item())
    sessions = closes.astype("datetime64[D]")
    if not len(sessions):
        return closed
    opens = np.array([_opening(day) for day in sessions.tolist()], dtype="datetime64[ns]")
    index = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
    inside = (sessions[index] == days) & (starts < closes[index]) & (ends > opens[index])
    closed[inside] = np.minimum(ends, closes[index])[inside]
    return closed


def in_regular_session(start: datetime, period: timedelta) -> bool:
    """Return True for a bar inside a session; `start` is aware. See `regular_closes`."""
    return not np.isnat(regular_closes(np.array([_naive(start)]), period)[0])


def open_in_new_york(start: datetime, end: datetime) -> bool:
    """Return True if New York's exchanges are open at some moment of `(start, end]`, aware times."""
    for close in session_closes(start.date() - timedelta(days=1), end.date() + timedelta(days=1)):
        day = close.astype("datetime64[D]").item()
        if _naive(start) < close and _opening(day) < _naive(end):
            return True
    return False


def _opening(day: date) -> np.datetime64:
    return _naive(datetime.combine(day, OPENING, ZoneInfo(TIME_ZONE)))


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "ns")
