"""Calendar features are what Python's own calendar says of each bar's timestamp."""

from __future__ import annotations

import calendar
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alphaloop.errors import InputError
from features import catalogue
from features.engine.operator import Axes

BARS = [
    datetime(2019, 11, 20, 0, 30, 30, tzinfo=UTC) + index * timedelta(hours=7, minutes=10)
    for index in range(2000)
]


def run(name: str, moments: list[datetime], output: int = 0, **parameters: Any) -> np.ndarray:
    """The indicator at these closes."""
    times = np.array([one.astimezone(UTC).replace(tzinfo=None) for one in moments], dtype="datetime64[ns]")
    operator = catalogue.find_indicator(name).factory(**parameters)
    return operator.batch((np.ones((len(times), 1)),), Axes(times, ("A",)))[output][:, 0]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_days_and_clocks_are_pythons(zone: str) -> None:
    """Over a year and a half, in zones with and without summer time, every number is Python's."""
    local = [one.astimezone(ZoneInfo(zone)) for one in BARS]
    expected = {
        "day_of_week": [one.weekday() for one in local],
        "day_of_month": [one.day for one in local],
        "day_of_year": [one.timetuple().tm_yday for one in local],
        "month": [one.month for one in local],
        "quarter": [(one.month + 2) // 3 for one in local],
        "hour": [one.hour for one in local],
        "minute": [one.minute for one in local],
        "days_to_month_end": [calendar.monthrange(one.year, one.month)[1] - one.day for one in local],
    }
    for name, numbers in expected.items():
        np.testing.assert_array_equal(run(name, BARS, zone=zone), numbers, err_msg=name)


def days(year: int, first_month: int, months: int, weekdays: bool) -> list[datetime]:
    """The days of some months, at noon."""
    found = [
        datetime(year, month, day, 12, tzinfo=UTC)
        for month in range(first_month, first_month + months)
        for day in range(1, calendar.monthrange(year, month)[1] + 1)
    ]
    return [one for one in found if one.weekday() < 5] if weekdays else found


@pytest.mark.parametrize("kind", ["weekdays", "all"])
def test_first_and_last_days_are_flagged(kind: str) -> None:
    """In each month of four years exactly its first and last day are flagged, or its first and last weekday;
    quarters likewise.
    """
    every = [datetime(2018, 1, 1, 12, tzinfo=UTC) + timedelta(days=index) for index in range(1461)]
    for name, months in (("month", 1), ("quarter", 3)):
        groups = [
            days(year, first, months, kind == "weekdays")
            for year in range(2018, 2022)
            for first in range(1, 13, months)
        ]
        for side, place in (("start", 0), ("end", -1)):
            flagged = run(f"{name}_{side}", every, days=kind) == 1
            found = [one for one, flag in zip(every, flagged, strict=True) if flag]
            assert found == [group[place] for group in groups]


def test_a_close_at_midnight_belongs_to_the_day_that_ends() -> None:
    """The daily bar of a market that never closes is of the day before its timestamp."""
    midnight = [datetime(2020, 6, 1, tzinfo=UTC)]
    assert run("day_of_week", midnight)[0] == 6
    assert run("day_of_month", midnight)[0] == 31
    assert run("month", midnight)[0] == 5
    assert run("month_end", midnight, days="all")[0] == 1
    assert run("days_to_month_end", midnight)[0] == 0
    assert run("hour", midnight)[0] == 0
    assert run("session_progress", midnight)[0] == 1


def test_session_progress_by_hand() -> None:
    """A session in New York, in winter and in summer, and one past midnight."""
    parameters = {"opens": "09:30", "closes": "16:00", "zone": "America/New_York"}
    winter = [
        datetime(2020, 1, 6, *clock, tzinfo=UTC) for clock in ((14, 30), (14, 31), (17, 45), (21, 0), (22, 0))
    ]
    np.testing.assert_allclose(run("session_progress", winter, **parameters), [1, 1 / 390, 0.5, 1, 1])
    assert run("session_progress", [datetime(2020, 7, 6, 16, 45, tzinfo=UTC)], **parameters)[0] == 0.5
    night = [datetime(2020, 1, 6, 23, 0, tzinfo=UTC), datetime(2020, 1, 7, 1, 0, tzinfo=UTC)]
    np.testing.assert_allclose(run("session_progress", night, opens="22:00", closes="02:00"), [0.25, 0.75])
    assert run("session_progress", [datetime(2020, 1, 6, 6, tzinfo=UTC)])[0] == 0.25


@pytest.mark.parametrize(
    ("name", "steps", "place"),
    [
        ("time_of_day", 1440, lambda one: one.hour * 60 + one.minute),
        ("week_cycle", 7, lambda one: one.weekday()),
        ("month_cycle", 12, lambda one: one.month - 1),
        ("year_cycle", 366, lambda one: one.timetuple().tm_yday - 1),
    ],
)
def test_cycles_are_places_on_a_circle(name: str, steps: int, place: Any) -> None:
    """Sine and cosine are those of the place in the cycle, and one bar alone has the same bits as many."""
    angles = [2 * math.pi * place(one) / steps for one in BARS]
    for output, function in ((0, math.sin), (1, math.cos)):
        found = run(name, BARS, output=output)
        np.testing.assert_allclose(found, [function(one) for one in angles], atol=1e-15)
        assert found[77] == run(name, BARS[77:78], output=output)[0]


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("hour", {"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ("hour", {"zone": "../../etc/passwd"}, "no time zone"),
        ("month_end", {"days": "workdays"}, "unknown days 'workdays'"),
        ("session_progress", {"opens": "25:00"}, "opens is '25:00'"),
        ("session_progress", {"closes": "9.30"}, "closes is '9.30'"),
        ("session_progress", {"closes": "09:61"}, "closes is '09:61'"),
    ],
)
def test_impossible_calendars_are_refused(name: str, parameters: dict[str, Any], words: str) -> None:
    """A zone, kind of days or time that there is not is named."""
    with pytest.raises(InputError, match=words):
        catalogue.build_indicator(name, named=parameters)
