"""The Schaff trend cycle."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import Array, State, Stepped, Trailing, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="momentum indicators", reference="Schaff 1999")
def schaff_trend_cycle(fast: int = 23, slow: int = 50, cycle: int = 10, factor: float = 0.5) -> Operator:
    """Position of MACD in its range, smoothed, and the same of that: 0 to 100.

    Where a range is zero the position stays as it was, at first 50.
    """
    at_least(1, fast=fast, slow=slow, cycle=cycle)
    quick, calm, recent = exponential(fast), exponential(slow), Trailing(cycle)

    def start(symbols: int) -> State:
        middle = np.full(symbols, 50.0)
        return (
            *(quick.start(symbols), calm.start(symbols)),
            *(recent.start(symbols), middle, recent.start(symbols), middle),
        )

    def step(state: State, inputs: State) -> Stepped:
        quicker, fast_average = quick.step(state[0], inputs[0])
        calmer, slow_average = calm.step(state[1], inputs[0])
        differences = recent.step(state[2], fast_average - slow_average)
        first = _smoothed(differences, state[3], factor)
        firsts = recent.step(state[4], np.where(np.isfinite(differences[:, 0]), first, np.nan))
        second = _smoothed(firsts, state[5], factor)
        value = np.where(np.isfinite(firsts[:, 0]), second, np.nan)
        return (quicker, calmer, differences, first, firsts, second), (value,)

    return Recursive(start, step, lookback=max(fast, slow) + 2 * (cycle - 1))


def _smoothed(values: Array, before: Array, factor: float) -> Array:
    """Return the position of the last of `values` in their range, 0 to 100, smoothed."""
    lowest, extent = values.min(axis=1), values.max(axis=1) - values.min(axis=1)
    known = extent > 0.0
    place = 100.0 * (values[:, -1] - lowest) / np.where(known, extent, 1.0)
    return np.where(known, before + factor * (place - before), before)
