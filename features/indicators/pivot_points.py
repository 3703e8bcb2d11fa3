"""Pivot points of the previous period."""

from __future__ import annotations

from alphaloop.errors import InputError
from features.engine.arithmetic.period import Levels, previous_period
from features.engine.arithmetic.smoothing import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator

OUTPUTS = (
    "pivot",
    *("resistance_1", "resistance_2", "resistance_3"),
    *("support_1", "support_2", "support_3"),
)
RANGE = ("pivot", "top", "bottom")


def _classic(high: Array, low: Array, close: Array) -> tuple[Array, ...]:
    pivot, extent = (high + low + close) / 3.0, high - low
    above, below = high - pivot, pivot - low
    upper = (pivot + below, pivot + extent, high + 2.0 * below)
    return (pivot, *upper, pivot - above, pivot - extent, low - 2.0 * above)


def _fibonacci(high: Array, low: Array, close: Array) -> tuple[Array, ...]:
    pivot, extent = (high + low + close) / 3.0, high - low
    steps = [share * extent for share in (0.382, 0.618, 1.0)]
    return (pivot, *(pivot + one for one in steps), *(pivot - one for one in steps))


def _camarilla(high: Array, low: Array, close: Array) -> tuple[Array, ...]:
    pivot, extent = (high + low + close) / 3.0, high - low
    steps = [1.1 * extent / share for share in (12.0, 6.0, 4.0)]
    return (pivot, *(close + one for one in steps), *(close - one for one in steps))


KINDS: dict[str, Levels] = {"classic": _classic, "fibonacci": _fibonacci, "camarilla": _camarilla}


@indicator(
    ("high", "low", "close"),
    OUTPUTS,
    group="price levels",
    reference="Person 2004; Stott 1989",
    version=2,
)
def pivot_points(period: str = "day", kind: str = "classic") -> Operator:
    """Pivot, three resistances and three supports of the last complete day, week, month or year.

    Periods are those of the bars' calendar. `kind` is `classic` (floor traders'), `fibonacci` or `camarilla`.
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind '{kind}' of pivot points; known: {', '.join(KINDS)}")
    return previous_period(KINDS[kind], OUTPUTS, period)


@indicator(("high", "low", "close"), RANGE, group="price levels", reference="Ochoa 2010", version=2)
def central_pivot_range(period: str = "day") -> Operator:
    """Pivot of the last complete period, and the upper and lower edge of the range around it."""

    def levels(high: Array, low: Array, close: Array) -> tuple[Array, ...]:
        pivot, middle = (high + low + close) / 3.0, (high + low) / 2.0
        distance = abs(pivot - middle)
        return pivot, pivot + distance, pivot - distance

    return previous_period(levels, RANGE, period)
