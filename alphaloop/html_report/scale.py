"""Scales and ticks: positions of values on an axis, and round values for its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

Coordinate = str | float
Tick = tuple[float, str]

_DAY_STEPS = (1, 2, 7, 14)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values `low … high` to pixels `start … end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`; the middle where the scale has no extent."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def position(value: Coordinate) -> float:
    """Convert an x value to a number; ISO dates and timestamps count in days."""
    return float(date.fromisoformat(value[:10]).toordinal()) if isinstance(value, str) else float(value)


def are_dates(values: Sequence[Coordinate]) -> bool:
    """Test whether the x values are ISO dates."""
    return bool(values) and isinstance(values[0], str)


def value_ticks(low: float, high: float, count: int, label: Callable[[float], str]) -> list[Tick]:
    """Return about `count` round values in `[low, high]`, with labels.

    Round values are 1, 2, 2.5 or 5 times a power of ten. After Heckbert, "Nice numbers for graph labels",
    Graphics Gems, 1990.
    """
    if not high > low:
        return [(low, label(low))]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(index * step, label(index * step)) for index in range(first, last + 1)]


def date_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Return at most about `count` firsts of months in `[low, high]`, with labels.

    Over a short span they are days.
    """
    first, last = date.fromordinal(int(low)), date.fromordinal(int(high))
    for days in _DAY_STEPS:
        if (last - first).days / days <= count:
            ordinals = range(first.toordinal(), last.toordinal() + 1, days)
            return [(float(day), _day_label(date.fromordinal(day))) for day in ordinals]
    months = (last.year - first.year) * 12 + last.month - first.month
    step = next((step for step in _MONTH_STEPS if months / step <= count), _MONTH_STEPS[-1])
    ticks: list[Tick] = []
    for month in range(first.year * 12, last.year * 12 + 12, step):
        day = date(month // 12, month % 12 + 1, 1)
        if first <= day <= last:
            ticks.append((float(day.toordinal()), _month_label(day, step, first=not ticks)))
    return ticks


def _day_label(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]}"


def _month_label(day: date, step: int, *, first: bool) -> str:
    if step >= 12:
        return str(day.year)
    return f"{_MONTHS[day.month - 1]} {day.year}" if first or day.month == 1 else _MONTHS[day.month - 1]
