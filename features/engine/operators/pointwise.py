"""Stateless operators: of each bar, of all symbols at one bar, or of the bar's time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaloop.bars import Timestamps
from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector, all_finite, as_outputs


@dataclass(frozen=True, slots=True)
class Pointwise:
    """`function(*values)` of each bar separately: arrays of one shape in, one or several of that shape out.

    A result that is not finite, as of a division by zero, becomes NaN.
    """

    function: Callable[..., Any]
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = True
    lookback: int = 1
    cross: bool = False

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Apply the function to all bars."""
        with np.errstate(all="ignore"):
            results = as_outputs(self.function(*inputs))
        here = all_finite((*inputs, *results))
        return results if here.all() else tuple(np.where(here, result, np.nan) for result in results)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a stateless handle."""
        return _Memoryless(self, axes.symbols)


@dataclass(frozen=True, slots=True)
class CrossSection:
    """`function(*rows)` of all symbols at one bar: `[T, N]` in and out, each row separately.

    Inputs are NaN where a symbol has no bar, and outputs must be too. If `exact`, the function may only use
    operations that do not depend on an order of summation: comparisons, counts, sorts.
    """

    function: Callable[..., Any]
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = True
    lookback: int = 1
    cross: bool = True

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Apply the function to all bars."""
        with np.errstate(all="ignore"):
            return as_outputs(self.function(*(np.ascontiguousarray(values) for values in inputs)))

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a stateless handle."""
        return _Memoryless(self, axes.symbols)


@dataclass(frozen=True, slots=True)
class TimePointwise:
    """`function(times)` of the bars' closes in UTC (`datetime64[ns]`, `[T]`): one or several float64 `[T]`.

    Its input only marks where a symbol has a bar.
    """

    function: Callable[[Timestamps], Any]
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = True
    lookback: int = 1
    cross: bool = False

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Apply the function to all closes, for every symbol with a bar."""
        here = all_finite(inputs)
        results = as_outputs(self.function(axes.times))
        return tuple(np.where(here, np.asarray(result, np.float64)[:, None], np.nan) for result in results)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a stateless handle."""
        return _Memoryless(self, axes.symbols)


class _Memoryless:
    def __init__(self, operator: Pointwise | CrossSection | TimePointwise, symbols: tuple[str, ...]) -> None:
        self._operator, self._symbols = operator, symbols

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Run the batch on one bar."""
        axes = Axes(np.array([time], dtype="datetime64[ns]"), self._symbols)
        results = self._operator.batch(tuple(values[None] for values in inputs), axes)
        return tuple(result[0] for result in results)
