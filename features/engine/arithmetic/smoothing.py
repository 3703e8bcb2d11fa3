"""Averages and trailing windows as parts of a recursion; their state has one row a symbol.

Each part is a value with `start(n)`, the state of `n` symbols, and `step(state, …)`, which returns the next
state and the part's output. Values that are not finite leave the state unchanged, so parts can be chained: an
average of an average waits until the first has a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.parameters import require_bars

Array = npt.NDArray[np.float64]
State = tuple[Array, ...]
"""State of a recursion: arrays with one row a symbol."""
Stepped = tuple[State, State]
"""The next state, and the outputs of the bar."""


def at_least(least: int, **lengths: int) -> None:
    """Raise `InputError` for the first of `lengths` that is not a number of bars from `least` on."""
    for name, length in lengths.items():
        require_bars(name, length, least)


def join_states(*columns: Array) -> Array:
    """Concatenate arrays `[n, …]` of several parts into one state array."""
    return np.concatenate([one[:, None] if one.ndim == 1 else one for one in columns], axis=1)


@dataclass(frozen=True, slots=True)
class Average:
    """Recursive average `value + weight * (x - value)`, started as the mean of the first `length` values.

    This start is TA-Lib's. State `[n, 2]`: the number of values seen (up to `length`), and the average. The
    mean is updated step by step, so that it is exact for a constant.
    """

    length: int
    weight: float

    def start(self, symbols: int) -> Array:
        """Return the state before any value."""
        return np.zeros((symbols, 2))

    def step(self, state: Array, value: Array) -> tuple[Array, Array]:
        """Return the state after `value` (`[n]`), and the average (NaN until `length` values were seen)."""
        seen, average = state[:, 0], state[:, 1]
        count = np.minimum(seen + 1.0, self.length)
        weight = np.where(seen < self.length, 1.0 / count, self.weight)
        here = np.isfinite(value)
        after = join_states(
            np.where(here, count, seen), np.where(here, average + weight * (value - average), average)
        )
        return after, np.where(here & (after[:, 0] >= self.length), after[:, 1], np.nan)


def exponential(length: int) -> Average:
    """Return the exponential average with weight `2 / (length + 1)`."""
    at_least(1, length=length)
    return Average(length, 2.0 / (length + 1.0))


def wilder(length: int) -> Average:
    """Return Wilder's average with weight `1 / length` (Wilder 1978); also called SMMA and RMA."""
    at_least(1, length=length)
    return Average(length, 1.0 / length)


@dataclass(frozen=True, slots=True)
class Trailing:
    """The last `length` values, oldest first; the state `[n, length]` is the output, NaN while short."""

    length: int

    def start(self, symbols: int) -> Array:
        """Return the state before any value."""
        return np.full((symbols, self.length), np.nan)

    def step(self, state: Array, value: Array) -> Array:
        """Return the values after `value` (`[n]`)."""
        moved = np.concatenate([state[:, 1:], value[:, None]], axis=1)
        here = np.isfinite(value)
        return moved if here.all() else np.where(here[:, None], moved, state)


@dataclass(frozen=True, slots=True)
class AverageTrueRange:
    """Wilder's average of the true range, from the second bar on as in TA-Lib. State `[n, 3]`."""

    length: int

    def start(self, symbols: int) -> Array:
        """Return the state before any bar."""
        return join_states(np.full(symbols, np.nan), wilder(self.length).start(symbols))

    def step(self, state: Array, high: Array, low: Array, close: Array) -> tuple[Array, Array]:
        """Return the state after a bar, and the average true range in units of the price."""
        averages, average = wilder(self.length).step(state[:, 1:], true_range(high, low, state[:, 0]))
        return join_states(close, averages), average


@dataclass(frozen=True, slots=True)
class RelativeStrength:
    """Wilder's relative strength index of changes, 0 to 100; 50 where nothing changed. State `[n, 4]`."""

    length: int

    def start(self, symbols: int) -> Array:
        """Return the state before any change."""
        average = wilder(self.length)
        return join_states(average.start(symbols), average.start(symbols))

    def step(self, state: Array, change: Array) -> tuple[Array, Array]:
        """Return the state after `change` (`[n]`), and the index."""
        average = wilder(self.length)
        gains, gain = average.step(state[:, :2], np.maximum(change, 0.0))
        losses, loss = average.step(state[:, 2:], np.maximum(-change, 0.0))
        moved = gain + loss
        index = np.where(moved == 0.0, 50.0, 100.0 * ratio(gain, moved))
        return join_states(gains, losses), index


def true_range(high: Array, low: Array, previous: Array) -> Array:
    """Return the range of a bar including the previous close (Wilder 1978); NaN without that close."""
    return np.maximum(high, previous) - np.minimum(low, previous)
