"""Adapter for TA-Lib: its batch functions, and stream handles that match them to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector, all_finite, nan_matrix


@dataclass(frozen=True)
class Talib:
    """TA-Lib's `function` with its `parameters`; inputs are passed in their order.

    TA-Lib returns some outputs as indices into the whole array, which depend on where history begins. With
    `ages` these become the number of the symbol's bars since that index (0 for the bar itself).
    """

    function: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    ages: bool = False
    exact: bool = True
    cross: bool = False

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs as in TA-Lib; a single one is `value`."""
        names = tuple(self._info.output_names)
        return names if len(names) > 1 else SINGLE_OUTPUT

    @cached_property
    def lookback(self) -> int:
        """Bars until the first value, that bar included."""
        return int(self._info.lookback) + 1

    @property
    def _info(self) -> Any:
        from talib import abstract

        return abstract.Function(self.function, **self.parameters)

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Run TA-Lib's function over each symbol's bars."""
        import talib

        function = getattr(talib, self.function)
        here = all_finite(inputs)
        whole = np.asarray(here.all(axis=0))
        enough = np.asarray(here.sum(axis=0)) >= self.lookback
        results = tuple(
            np.empty(here.shape[::-1]).T if whole.all() and enough.all() else nan_matrix(here.shape)
            for _ in self.outputs
        )
        columns = [np.asfortranarray(values) for values in inputs]
        for column in np.flatnonzero(enough):
            rows: Any = slice(None) if whole[column] else np.flatnonzero(here[:, column])
            found = function(*(values[rows, column] for values in columns), **self.parameters)
            for result, values in zip(results, found if isinstance(found, tuple) else (found,), strict=True):
                result[rows, column] = np.arange(len(values)) - values if self.ages else values
                if values.dtype != np.float64:
                    # Integers have no NaN: TA-Lib fills the bars before the first value with 0.
                    first = np.arange(len(result))[rows][: self.lookback - 1]
                    result[first, column] = np.nan
        return results

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle with one TA-Lib handle for each symbol."""
        here = all_finite(inputs)
        return _TalibHandle(
            [
                _SymbolHandle(self, [values[here[:, column], column] for values in inputs])
                for column in range(len(axes.symbols))
            ],
            len(self.outputs),
        )


class _TalibHandle:
    def __init__(self, symbols: list[_SymbolHandle], outputs: int) -> None:
        self._symbols, self._outputs = symbols, outputs

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Update each symbol that has a bar."""
        bars = zip(*(values.tolist() for values in inputs), strict=True)
        absent = _nan_outputs(self._outputs)
        if all_finite(inputs).all():
            rows = [symbol.update(bar) for symbol, bar in zip(self._symbols, bars, strict=True)]
        else:
            rows = [
                symbol.update(bar) if all(map(math.isfinite, bar)) else absent
                for symbol, bar in zip(self._symbols, bars, strict=True)
            ]
        values = np.array(rows, dtype=np.float64)
        if self._outputs == 1:
            return (values.reshape(-1),)
        return tuple(values.T)


class _SymbolHandle:
    """TA-Lib handle of one symbol; collects bars until there are enough to open it."""

    __slots__ = ("_handle", "_operator", "_place", "_waiting", "update")

    def __init__(self, operator: Talib, history: list[Vector]) -> None:
        self._operator = operator
        self._waiting = [list(values) for values in history]
        self._handle: Any = None
        self._place = len(history[0]) - 1
        self.update: Any = self._wait
        self._open()

    def _wait(self, bar: tuple[float, ...]) -> Any:
        for values, value in zip(self._waiting, bar, strict=True):
            values.append(value)
        self._place += 1
        self._open()
        if self._handle is None:
            return _nan_outputs(len(self._operator.outputs))
        return self._age(self._handle.value) if self._operator.ages else self._handle.value

    def _open(self) -> None:
        if len(self._waiting[0]) < self._operator.lookback:
            return
        import talib
        from talib import stream

        history = [np.asarray(values, dtype=np.float64) for values in self._waiting]
        try:
            handle = getattr(stream, self._operator.function)(*history, **self._operator.parameters)
        except talib.InsufficientHistory:
            return
        self._handle, self._waiting = handle, []
        carry_on = handle.update
        self.update = self._carry_on_ages if self._operator.ages else lambda bar: carry_on(*bar)

    def _carry_on_ages(self, bar: tuple[float, ...]) -> Any:
        self._place += 1
        return self._age(self._handle.update(*bar))

    def _age(self, places: Any) -> Any:
        """Return the bars since the index or indices that TA-Lib returns."""
        if isinstance(places, tuple):
            return tuple(self._place - place for place in places)
        return self._place - places


def _nan_outputs(outputs: int) -> Any:
    """Return NaN as a handle would: a number, or a tuple for several outputs."""
    return math.nan if outputs == 1 else (math.nan,) * outputs
