"""Calendar periods: operators that restart, or look back, by day, week, month or year.

A bar belongs to the period of the day on which it closes, in the bars' calendar (`marketdata.trading_days`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError
from features.engine.arithmetic.smoothing import State, Stepped
from features.engine.operator import Axes, Handle, Matrix, Operator, Vector
from features.engine.operators.recursive import Recursive
from marketdata.calendars import Days
from marketdata.trading_days import TradingDays

Array = npt.NDArray[np.float64]
PeriodLabel = Callable[[Days], Array]


def _day(days: Days) -> Array:
    return days.astype(np.int64).astype(np.float64)


def _week(days: Days) -> Array:
    # Day 0, the first of January 1970, was a Thursday; weeks begin on Mondays.
    return ((days.astype(np.int64) + 3) // 7).astype(np.float64)


def _month(days: Days) -> Array:
    return days.astype("datetime64[M]").astype(np.float64)


def _year(days: Days) -> Array:
    return days.astype("datetime64[Y]").astype(np.float64)


PERIOD_LABELS: dict[str, PeriodLabel] = {
    "session": _day,
    "day": _day,
    "week": _week,
    "month": _month,
    "year": _year,
}


def period_label(period: str) -> PeriodLabel:
    """Return the function that numbers periods. Raises `InputError`, which lists the known periods."""
    if period not in PERIOD_LABELS:
        raise InputError(f"unknown period '{period}'; known: {', '.join(PERIOD_LABELS)}")
    return PERIOD_LABELS[period]


@dataclass(frozen=True, slots=True)
class WithPeriod:
    """`operator` with one more input, the last: the number of the bar's period."""

    operator: Operator
    label: PeriodLabel

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the operator."""
        return self.operator.outputs

    @property
    def lookback(self) -> int:
        """Lookback of the operator."""
        return self.operator.lookback

    @property
    def exact(self) -> bool:
        """Exactness of the operator."""
        return self.operator.exact

    @property
    def cross(self) -> bool:
        """True if the operator reads other symbols."""
        return self.operator.cross

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Run the operator over the bars and their periods."""
        return self.operator.batch(self._dated(inputs, axes), axes)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle whose state covers these bars."""
        return _WithPeriodHandle(self.operator.stream(self._dated(inputs, axes), axes), self.label, axes.days)

    def _dated(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        numbers = np.broadcast_to(self.label(axes.days.numbers(axes.times))[:, None], inputs[0].shape)
        return (*inputs, numbers)


class _WithPeriodHandle:
    def __init__(self, handle: Handle, numbered: PeriodLabel, days: TradingDays) -> None:
        self._handle, self._label, self._days = handle, numbered, days

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Update the operator by one bar and its period."""
        number = self._label(self._days.numbers(np.array([time], dtype="datetime64[ns]")))[0]
        return self._handle.update((*inputs, np.full(len(inputs[0]), number)), time)


Levels = Callable[[Array, Array, Array], tuple[Array, ...]]


def previous_period(levels: Levels, outputs: tuple[str, ...], period: str) -> WithPeriod:
    """Compute `levels(high, low, close)` of the period before the bar's; NaN in the first period."""

    def start(symbols: int) -> State:
        return (np.full(symbols, np.nan), *(np.full(symbols, np.nan) for _ in range(6)))

    def step(state: State, inputs: State) -> Stepped:
        current, *bars = state
        high, low, close, number = inputs
        new = current != number
        before = tuple(np.where(new, now, old) for now, old in zip(bars[:3], bars[3:], strict=True))
        running = (
            np.where(new, high, np.maximum(bars[0], high)),
            np.where(new, low, np.minimum(bars[1], low)),
            close,
        )
        return (number, *running, *before), levels(*before)

    return WithPeriod(Recursive(start, step, outputs, lookback=2), period_label(period))
