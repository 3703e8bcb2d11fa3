"""Calendar features: day, month and session of the bar's own timestamp, its close.

Everything follows from the timestamp alone, so later bars change nothing. `zone` is the time zone in which
clocks are read ("UTC", "America/New_York"). A bar that closes at midnight belongs to the day that ends then,
though its hour is 0. Holidays are not known: "weekdays" are Monday to Friday. Cycles are given as sine and
cosine, so that their ends meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from alphaloop.errors import InputError
from features.engine.arithmetic.parameters import require_choice
from features.engine.indicator import indicator
from features.engine.operator import SINGLE_OUTPUT, Operator
from features.engine.operators.pointwise import TimePointwise

GROUP = "calendar"
WAVES = ("sine", "cosine")
DAYS = ("weekdays", "all")
MINUTES_A_DAY = 1440
Numbers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@indicator(group=GROUP)
def day_of_week(zone: str = "UTC") -> Operator:
    """Day of the week of the bar's close: Monday 0 to Sunday 6."""
    return _clocked(_weekday, zone)


@indicator(group=GROUP)
def day_of_month(zone: str = "UTC") -> Operator:
    """Day of the month of the bar's close, 1 to 31."""
    return _clocked(_day_of_month, zone)


@indicator(group=GROUP)
def day_of_year(zone: str = "UTC") -> Operator:
    """Day of the year of the bar's close, 1 to 366."""
    return _clocked(_day_of_year, zone)


@indicator(group=GROUP)
def month(zone: str = "UTC") -> Operator:
    """Month of the bar's close, 1 to 12."""
    return _clocked(_month, zone)


@indicator(group=GROUP)
def quarter(zone: str = "UTC") -> Operator:
    """Quarter of the bar's close, 1 to 4."""
    return _clocked(lambda local: (_month(local) - 1) // 3 + 1, zone)


@indicator(group=GROUP)
def hour(zone: str = "UTC") -> Operator:
    """Hour of the bar's close, 0 to 23."""
    return _clocked(lambda local: _minute_of_day(local) // 60, zone)


@indicator(group=GROUP)
def minute(zone: str = "UTC") -> Operator:
    """Minute within the hour of the bar's close, 0 to 59."""
    return _clocked(lambda local: _minute_of_day(local) % 60, zone)


@indicator(group=GROUP)
def month_start(days: str = "weekdays", zone: str = "UTC") -> Operator:
    """1 on the month's first day (its first weekday, unless `days` is "all"), else 0."""
    return _clocked(partial(_is_first, months=1, only_weekdays=_only_weekdays(days)), zone)


@indicator(group=GROUP)
def month_end(days: str = "weekdays", zone: str = "UTC") -> Operator:
    """1 on the month's last day (its last weekday, unless `days` is "all"), else 0."""
    return _clocked(partial(_is_last, months=1, only_weekdays=_only_weekdays(days)), zone)


@indicator(group=GROUP)
def quarter_start(days: str = "weekdays", zone: str = "UTC") -> Operator:
    """1 on the quarter's first day (its first weekday, unless `days` is "all"), else 0."""
    return _clocked(partial(_is_first, months=3, only_weekdays=_only_weekdays(days)), zone)


@indicator(group=GROUP)
def quarter_end(days: str = "weekdays", zone: str = "UTC") -> Operator:
    """1 on the quarter's last day (its last weekday, unless `days` is "all"), else 0."""
    return _clocked(partial(_is_last, months=3, only_weekdays=_only_weekdays(days)), zone)


@indicator(group=GROUP)
def days_to_month_end(zone: str = "UTC") -> Operator:
    """Days left until the month's last day, which has 0."""
    return _clocked(lambda local: (_last_day(local, 1) - _day(local)).astype(np.int64), zone)


@indicator(group=GROUP)
def session_progress(opens: str = "00:00", closes: str = "24:00", zone: str = "UTC") -> Operator:
    """Share of the session that is over at the bar's close, above 0 and up to 1; 1 outside sessions.

    The session is from `opens` to `closes` ("HH:MM" in `zone`), past midnight if it closes before it opens.
    """
    first, last = _minutes("opens", opens), _minutes("closes", closes)
    length = (last - first) % MINUTES_A_DAY or MINUTES_A_DAY
    return _clocked(partial(_progress, first=first % MINUTES_A_DAY, length=length), zone)


@indicator(outputs=WAVES, group=GROUP)
def time_of_day(zone: str = "UTC") -> Operator:
    """Minute of the day as a point on a circle: midnight (0, 1), six o'clock (1, 0)."""
    return _clocked(lambda local: _wave(_minute_of_day(local), MINUTES_A_DAY), zone, WAVES)


@indicator(outputs=WAVES, group=GROUP)
def week_cycle(zone: str = "UTC") -> Operator:
    """Day of the week as a point on a circle: Monday (0, 1)."""
    return _clocked(lambda local: _wave(_weekday(local), 7), zone, WAVES)


@indicator(outputs=WAVES, group=GROUP)
def month_cycle(zone: str = "UTC") -> Operator:
    """Month as a point on a circle: January (0, 1), April (1, 0)."""
    return _clocked(lambda local: _wave(_month(local) - 1, 12), zone, WAVES)


@indicator(outputs=WAVES, group=GROUP)
def year_cycle(zone: str = "UTC") -> Operator:
    """Day of the year as a point on a circle of 366 days: 1 January (0, 1)."""
    return _clocked(lambda local: _wave(_day_of_year(local) - 1, 366), zone, WAVES)


def _clocked(
    function: Callable[[Timestamps], Numbers | Values | tuple[Values, Values]],
    zone: str,
    outputs: tuple[str, ...] = SINGLE_OUTPUT,
) -> Operator:
    _require_zone(zone)
    return TimePointwise(lambda times: function(_local(times, zone)), outputs)


def _require_zone(zone: str) -> None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"zone is '{zone}', which is no time zone; such as UTC or America/New_York"
        ) from error


def _local(times: Timestamps, zone: str) -> Timestamps:
    """Convert `times` to wall-clock time in `zone`, as `datetime64[ns]` without a zone."""
    if zone == "UTC":
        return times.astype("datetime64[ns]")
    import pandas as pd

    local: Timestamps = pd.DatetimeIndex(times, tz="UTC").tz_convert(zone).tz_localize(None).to_numpy()
    return local.astype("datetime64[ns]")


def _day(local: Timestamps) -> Timestamps:
    """Return the bar's day; a bar at midnight belongs to the day that ends."""
    return (local - np.timedelta64(1, "ns")).astype("datetime64[D]")


def _weekday(local: Timestamps) -> Numbers:
    return _weekday_of(_day(local))


def _weekday_of(days: Timestamps) -> Numbers:
    # 1 January 1970 was a Thursday.
    found: Numbers = (days.astype(np.int64) + 3) % 7
    return found


def _month(local: Timestamps) -> Numbers:
    found: Numbers = _day(local).astype("datetime64[M]").astype(np.int64) % 12 + 1
    return found


def _day_of_month(local: Timestamps) -> Numbers:
    day = _day(local)
    found: Numbers = (day - day.astype("datetime64[M]")).astype(np.int64) + 1
    return found


def _day_of_year(local: Timestamps) -> Numbers:
    day = _day(local)
    found: Numbers = (day - day.astype("datetime64[Y]")).astype(np.int64) + 1
    return found


def _minute_of_day(local: Timestamps) -> Numbers:
    found: Numbers = (local.astype("datetime64[m]") - local.astype("datetime64[D]")).astype(np.int64)
    return found


def _first_day(local: Timestamps, months: int) -> Timestamps:
    """Return the first day of the month, or of the group of `months` months of the year."""
    number = _day(local).astype("datetime64[M]").astype(np.int64) // months * months
    found: Timestamps = number.astype("datetime64[M]").astype("datetime64[D]")
    return found


def _last_day(local: Timestamps, months: int) -> Timestamps:
    number = _day(local).astype("datetime64[M]").astype(np.int64) // months * months + months
    days = number.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - 1
    return days.astype("datetime64[D]")


def _is_first(local: Timestamps, months: int, only_weekdays: bool) -> Numbers:
    first = _first_day(local, months)
    if only_weekdays:
        # A Saturday (5) moves to Monday by 2 days, a Sunday (6) by 1.
        first = first + np.where(_weekday_of(first) > 4, 7 - _weekday_of(first), 0)
    found: Numbers = (_day(local) == first).astype(np.int64)
    return found


def _is_last(local: Timestamps, months: int, only_weekdays: bool) -> Numbers:
    last = _last_day(local, months)
    if only_weekdays:
        last = last - np.maximum(_weekday_of(last) - 4, 0)
    found: Numbers = (_day(local) == last).astype(np.int64)
    return found


def _progress(local: Timestamps, first: int, length: int) -> Values:
    seconds = (local.astype("datetime64[s]") - local.astype("datetime64[D]")).astype(np.int64)
    # A bar that closes as the session opens belongs to the session before.
    elapsed = (seconds - first * 60 - 1) % (MINUTES_A_DAY * 60) + 1
    found: Values = np.minimum(elapsed / (length * 60), 1.0)
    return found


@cache
def _table(steps: int) -> tuple[Values, Values]:
    angles = [2 * math.pi * step / steps for step in range(steps)]
    return np.array([math.sin(one) for one in angles]), np.array([math.cos(one) for one in angles])


def _wave(places: Numbers, steps: int) -> tuple[Values, Values]:
    """Return sine and cosine from a table, with the same bits for one bar as for thousands."""
    sine, cosine = _table(steps)
    return sine[places], cosine[places]


def _only_weekdays(days: str) -> bool:
    return require_choice("days", days, DAYS) == "weekdays"


def _minutes(name: str, clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    if hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2:
        found = int(hours) * 60 + int(minutes)
        if int(minutes) < 60 and found <= MINUTES_A_DAY:
            return found
    raise InputError(f"{name} is '{clock}'; it must be a time from 00:00 to 24:00, as HH:MM")
