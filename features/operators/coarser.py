"""Coarser bars: a column computed on bars of a longer period, and seen only after those have closed.

A period ends on a multiple of its length in UTC, weeks on Monday at 0:00; a bar that closes as a period
ends belongs to it. Whether a period has ended, only time can say: a week of daily bars is seen at the
first bar of the next week, unless a bar closes at its very end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.graph import Column, Graph, GraphStream
from features.operator import SINGLE, Axes, Handle, Matrix, Vector, present, unknown

SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# How many finer bars one unit is taken to hold where `lookback` is told: minutes in hours, hours in
# days, days in weeks. An operator does not know the frequency of its bars.
FINER = {"m": 1, "h": 60, "d": 24, "w": 7}
# The epoch was a Thursday, the fourth day of its week.
_WEEK_SHIFT = 3 * 86_400 * 10**9


@dataclass(frozen=True)
class Coarser:
    """`column` on bars of `count` units, with the column's inputs in sorted order.

    Of a period, `open` is the first, `high` the highest, `low` the lowest, `volume` the sum, and
    everything else the last. A bar of a symbol counts if it has all inputs.
    """

    column: Column
    count: int
    unit: str
    outputs: tuple[str, ...] = SINGLE

    @cached_property
    def graph(self) -> Graph:
        """The graph behind the column."""
        return Graph([self.column])

    @property
    def lookback(self) -> int:
        """The column's, in finer bars, and the period in which it is seen; see `FINER`."""
        return (self.column.lookback + 1) * self.count * FINER[self.unit]

    @property
    def exact(self) -> bool:
        """The column's: both add up a period's volume in the same order."""
        return self.column.exact

    @property
    def cross(self) -> bool:
        """The column's."""
        return self.graph.cross

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """The values of the last period that has closed, at every bar."""
        periods = _Periods(self, len(axes.symbols))
        seen = periods.run(inputs, axes.times)
        values = self._values(periods, axes.symbols)
        result = unknown(inputs[0].shape)
        known = seen >= 0
        result[known] = values[seen[known]]
        return (np.where(present(inputs), result, np.nan),)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """A handle that stands after these bars."""
        periods = _Periods(self, len(axes.symbols))
        periods.run(inputs, axes.times)
        values = self._values(periods, axes.symbols)
        last = values[-1] if len(values) else np.full(len(axes.symbols), np.nan)
        graph = self.graph.stream(periods.closed(), Axes(periods.times(), axes.symbols))
        return _CoarserHandle(periods, graph, last)

    def _values(self, periods: _Periods, symbols: tuple[str, ...]) -> Matrix:
        for _, values in self.graph.batch(periods.closed(), Axes(periods.times(), symbols)):
            return np.asarray(values)
        return np.empty((0, len(symbols)))


class _Periods:
    """The bars of the coarser period: those that have closed, and the one under way."""

    def __init__(self, operator: Coarser, symbols: int) -> None:
        self._names = operator.graph.inputs
        self._length = operator.count * SECONDS[operator.unit] * 10**9
        self._shift = _WEEK_SHIFT if operator.unit == "w" else 0
        self._symbols = symbols
        self._number: int | None = None
        self._bar = self._empty()
        self._rows: list[tuple[Vector, ...]] = []
        self._ends: list[int] = []

    def run(self, inputs: tuple[Matrix, ...], times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
        """Take in bars; for each, which of the closed periods is the last (-1: none has closed)."""
        seen = np.empty(len(times), dtype=np.int64)
        for row, time in enumerate(times):
            self.add(tuple(values[row] for values in inputs), time)
            seen[row] = len(self._rows) - 1
        return seen

    def add(self, bar: tuple[Vector, ...], time: np.datetime64) -> list[tuple[tuple[Vector, ...], int]]:
        """Take in one bar; the periods (bars, end) that have closed by then."""
        before = len(self._rows)
        moment = int(time.astype("datetime64[ns]").astype(np.int64)) + self._shift
        number = (moment - 1) // self._length
        if self._number is not None and number != self._number:
            self._close()
        self._number = number
        here = present(bar)
        self._bar = tuple(
            np.where(here, _joined(name, old, new), old)
            for name, old, new in zip(self._names, self._bar, bar, strict=True)
        )
        if moment == (number + 1) * self._length:
            self._close()
        return list(zip(self._rows[before:], self._ends[before:], strict=True))

    def forget(self) -> None:
        """Let go of the closed periods."""
        self._rows.clear()
        self._ends.clear()

    def closed(self) -> dict[str, Matrix]:
        """The closed periods' columns by name, `[periods, N]`."""
        shape = (0, self._symbols)
        return {
            name: np.asfortranarray(
                np.array([row[index] for row in self._rows]) if self._rows else np.empty(shape)
            )
            for index, name in enumerate(self._names)
        }

    def times(self) -> npt.NDArray[np.datetime64]:
        """The closed periods' ends."""
        return np.array(self._ends, dtype="datetime64[ns]")

    def _close(self) -> None:
        if self._number is not None:
            self._rows.append(self._bar)
            self._ends.append((self._number + 1) * self._length - self._shift)
        self._number, self._bar = None, self._empty()

    def _empty(self) -> tuple[Vector, ...]:
        return tuple(np.full(self._symbols, np.nan) for _ in self._names)


class _CoarserHandle:
    def __init__(self, periods: _Periods, graph: GraphStream, last: Vector) -> None:
        self._periods, self._graph, self._last = periods, graph, last
        periods.forget()

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Take in one bar; the values of the last period that has closed."""
        for bar, end in self._periods.add(inputs, time):
            columns = dict(zip(self._periods._names, bar, strict=True))
            (self._last,) = self._graph.update(columns, np.datetime64(end, "ns"))
        self._periods.forget()
        return (np.where(present(inputs), self._last, np.nan),)


def _joined(name: str, old: Vector, new: Vector) -> Vector:
    """A period's column so far, `old`, with one more bar."""
    if name == "open":
        return np.where(np.isnan(old), new, old)
    if name == "high":
        return np.fmax(old, new)
    if name == "low":
        return np.fmin(old, new)
    if name == "volume":
        return np.where(np.isnan(old), new, old + new)
    return new
