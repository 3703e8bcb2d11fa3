"""Coarser bars: any feature on bars of hours, days, weeks or months, visible only after they close.

Minutes and hours are counted in UTC; days, weeks and months are those of the bars' calendar, with weeks
from Monday (`marketdata.trading_days`). A bar belongs to the period in which it closes. A bar that closes at
the end of the period (or within the second before: 23:59:59.999) is the period's last. At a bar, the value
is that of the symbol's last complete coarse bar.

A coarse bar is complete with the bar that closes at the end of its period: a day with its session, a week
with its last session. Where no bar closes there, or no calendar is known, only the next bar shows that the
period is over. If history begins within a period, the first coarse bar covers what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from alphaloop.errors import InputError
from features.engine.graph import Column, Graph, GraphStream, Input, Node
from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector, all_finite, nan_matrix
from marketdata.trading_days import TradingDays, closing_times

_MINUTE = 60 * 10**9
_CLOCK = {"m": _MINUTE, "h": 60 * _MINUTE}
_DAYS = {"d": 1, "w": 7}
# Periods of fixed length are counted from here, a Monday.
_ORIGIN = np.datetime64("1970-01-05")
# Raise this when an unchanged formula starts to give other values; it is part of feature set hashes.
RESAMPLE_VERSION = 2
_MAX_COUNT = 10_000
FINER_BARS_PER_UNIT = {"m": 1, "h": 60, "d": 24, "w": 7, "M": 31}
"""Bars of the market that a unit is assumed to hold in `lookback`, since no operator can know it:
minutes in hours, hours in days, days in weeks and months.
"""
Mask = npt.NDArray[np.bool_]
UTC_DAYS = TradingDays()


@dataclass(frozen=True, slots=True)
class Period:
    """`count` minutes (m), hours (h), days (d), weeks (w) or months (M) of the calendar."""

    count: int
    unit: str

    @classmethod
    def of(cls, text: str) -> Period:
        """Parse a period such as 15m, 4h, 1d, 1w or 3M. Raises `InputError` for any other text."""
        count, unit = text[:-1], text[-1:]
        known = unit in _CLOCK or unit in _DAYS or unit == "M"
        if not known or not (count.isascii() and count.isdecimal() and 0 < int(count[:9]) <= _MAX_COUNT):
            raise InputError(
                f"'{text}' is no period; give a number up to {_MAX_COUNT} of m, h, d, w or M (months), "
                "such as 15m, 4h, 1d, 1w"
            )
        return cls(int(count), unit)

    def ends(self, times: Timestamps, days: TradingDays = UTC_DAYS) -> Timestamps:
        """Return the end of the period in which each bar closes, `datetime64[ns]` `[T]`."""
        return self.of_bars(times, days)[0]

    def of_bars(self, times: Timestamps, days: TradingDays) -> tuple[Timestamps, Mask]:
        """Return the end of the period in which each bar closes, and whether the bar completes it."""
        if self.unit in _CLOCK:
            length, origin = self.count * _CLOCK[self.unit], _ORIGIN.astype("datetime64[ns]").astype(np.int64)
            stamps = closing_times(times).astype(np.int64)
            ends: Timestamps = (-((origin - stamps) // length) * length + origin).astype("datetime64[ns]")
            return ends, closing_times(times) >= ends
        counted = days.counted(times)
        if self.unit in _DAYS:
            length = self.count * _DAYS[self.unit]
            first = counted - (counted - _ORIGIN).astype(np.int64) % length
            following = first + length
        else:
            months = counted.astype("datetime64[M]").astype(np.int64) // self.count * self.count
            first, following = (
                one.astype("datetime64[M]").astype("datetime64[D]") for one in (months, months + self.count)
            )
        return days.borders(following), days.complete(times, first, following)


@dataclass(frozen=True)
class CoarseBarIndex:
    """Assignment of bars to coarse bars.

    `ends` `[P]` are the ends of the coarse bars; `first` `[P]` and `counts` `[P]` are the index of the first
    bar and the number of bars of each; `complete` `[T]` is the last coarse bar that is complete at each bar,
    -1 before there is one.
    """

    ends: Timestamps
    first: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    complete: npt.NDArray[np.int64]

    @classmethod
    def of(cls, period: Period, times: Timestamps, days: TradingDays) -> CoarseBarIndex:
        """Assign bars that close at `times` to coarse bars of `period`."""
        ends, last = period.of_bars(times, days)
        begins = np.r_[True, (ends[1:] != ends[:-1]) | last[:-1]][: len(ends)]
        first = np.flatnonzero(begins)
        return cls(ends[begins], first, np.diff(np.r_[first, len(ends)]), np.cumsum(begins) - 1 - ~last)


@dataclass(frozen=True)
class Resample:
    """`column`, with everything it is computed from, on coarser bars of `count` `unit`s.

    Inputs are the columns of the bars that it needs, sorted by name. Of a period, `open` is the first, `high`
    the highest, `low` the lowest, a volume (`volume`, `buy_volume`, …) the sum, anything else the last. A bar
    of a symbol counts if it has all inputs. Raises `InputError` for an invalid period.
    """

    column: Column
    count: int
    unit: str
    outputs: tuple[str, ...] = SINGLE_OUTPUT

    def __post_init__(self) -> None:
        Period.of(f"{self.count}{self.unit}")

    @cached_property
    def graph(self) -> Graph:
        """Graph that computes the column."""
        return Graph([self.column])

    @property
    def lookback(self) -> int:
        """Lookback of the column and one period in bars of the market, by `FINER_BARS_PER_UNIT`."""
        return (self.column.lookback + 1) * self.count * FINER_BARS_PER_UNIT[self.unit]

    @property
    def exact(self) -> bool:
        """As the column: aggregating bars is exact."""
        return self.column.exact

    @property
    def cross(self) -> bool:
        """As the column."""
        return self.graph.cross

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Return at each bar the value of the last coarse bar that had closed."""
        here = all_finite(inputs)
        bars = CoarseBarIndex.of(Period(self.count, self.unit), axes.times, axes.days)
        coarse, made = self._put_together(inputs, here, bars)
        result = nan_matrix(here.shape)
        if not len(bars.ends):
            return (result,)
        values = self._values(coarse, Axes(bars.ends, axes.symbols, axes.days))
        # Index -1, before any period has closed, would read the last row.
        seen = np.where(bars.complete[:, None] >= 0, _latest(made)[bars.complete], -1)
        rows, columns = np.nonzero(here & (seen >= 0))
        result[rows, columns] = values[seen[rows, columns], columns]
        return (result,)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle with the open coarse bar and the last value."""
        times = np.asarray(axes.times, dtype="datetime64[ns]")
        bars = CoarseBarIndex.of(Period(self.count, self.unit), times, axes.days)
        coarse, made = self._put_together(inputs, all_finite(inputs), bars)
        count = int(bars.complete[-1]) + 1 if len(times) else 0
        past = tuple(values[:count] for values in coarse)
        past_axes = Axes(bars.ends[:count], axes.symbols, axes.days)
        last = np.full(len(axes.symbols), np.nan)
        if count:
            latest = _latest(made[:count])[-1]
            known = np.flatnonzero(latest >= 0)
            last[known] = self._values(past, past_axes)[latest[known], known]
        open_bar = None
        if count < len(bars.ends):
            open_bar = bars.ends[count], tuple(values[count].copy() for values in coarse), made[count].copy()
        graph = self.graph.stream(self._named(past), past_axes)
        period = Period(self.count, self.unit)
        return _CoarserHandle(period, axes.days, self.graph.inputs, graph, last, open_bar)

    def _values(self, coarse: tuple[Matrix, ...], axes: Axes) -> Matrix:
        """Compute the column on coarse bars."""
        return next(iter(self.graph.batch(self._named(coarse), axes)))[1]

    def _named(self, coarse: tuple[Matrix, ...]) -> dict[str, Matrix]:
        return dict(zip(self.graph.inputs, coarse, strict=True))

    def _put_together(
        self, inputs: tuple[Matrix, ...], here: Mask, bars: CoarseBarIndex
    ) -> tuple[tuple[Matrix, ...], Mask]:
        """Return the columns of the coarse bars `[P, N]`, and where a symbol has one."""
        shape = (len(bars.ends), here.shape[1])
        coarse = tuple(nan_matrix(shape) for _ in inputs)
        made = np.zeros(shape, dtype=bool)
        for offset in range(int(bars.counts.max(initial=0))):
            long = bars.counts > offset
            rows = bars.first[long] + offset
            for name, column, values in zip(self.graph.inputs, coarse, inputs, strict=True):
                column[long] = merge_bar(name, column[long], made[long], values[rows], here[rows])
            made[long] |= here[rows]
        return coarse, made


class _CoarserHandle:
    def __init__(
        self,
        period: Period,
        days: TradingDays,
        names: tuple[str, ...],
        graph: GraphStream,
        last: Vector,
        open_bar: tuple[np.datetime64, tuple[Vector, ...], Mask] | None,
    ) -> None:
        self._period, self._days, self._names = period, days, names
        self._graph, self._last, self._open = graph, last, open_bar

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Update the open coarse bar, close it where this bar completes it, and return the value."""
        here = all_finite(inputs)
        now = np.array([time], dtype="datetime64[ns]")
        self._days = self._days.after(now)
        (end,), (last,) = self._period.of_bars(now, self._days)
        if self._open is not None and self._open[0] != end:
            self._close()
        if self._open is None:
            nothing = tuple(np.full(len(here), np.nan) for _ in inputs)
            self._open = end, nothing, np.zeros(len(here), dtype=bool)
        _, bars, made = self._open
        bars = tuple(
            merge_bar(name, bar, made, values, here)
            for name, bar, values in zip(self._names, bars, inputs, strict=True)
        )
        self._open = end, bars, made | here
        if last:
            self._close()
        return (np.where(here, self._last, np.nan),)

    def _close(self) -> None:
        if self._open is None:
            return
        end, bars, made = self._open
        (value,) = self._graph.update(dict(zip(self._names, bars, strict=True)), end)
        self._last = np.where(made, value, self._last)
        self._open = None


def merge_bar(name: str, bar: Matrix, made: Mask, values: Matrix, here: Mask) -> Matrix:
    """Merge one more bar into coarse column `name`; `made` marks symbols whose coarse bar had begun."""
    if name == "open":
        joined = bar
    elif name == "high":
        joined = np.maximum(bar, values)
    elif name == "low":
        joined = np.minimum(bar, values)
    elif name.endswith("volume"):
        joined = bar + values
    else:
        joined = values
    return np.where(here, np.where(made, joined, values), bar)


def resample(column: Column, period: str) -> Node:
    """Compute `column` on bars of `period`, such as 15m, 4h, 1d, 1w or 1M.

    `column @ period` in a formula does the same. Raises `InputError` for an invalid period.
    """
    parsed = Period.of(period)
    operator = Resample(column, parsed.count, parsed.unit)
    definition = {"function": "@", "version": RESAMPLE_VERSION, "period": period, "of": column.key}
    return Node(operator, tuple(Input(name) for name in operator.graph.inputs), definition)


def _latest(made: Mask) -> npt.NDArray[np.int64]:
    """Return the last row at or before each with a coarse bar of the symbol; -1 before the first."""
    rows = np.arange(len(made), dtype=np.int64)[:, None]
    return np.maximum.accumulate(np.where(made, rows, -1), axis=0)
