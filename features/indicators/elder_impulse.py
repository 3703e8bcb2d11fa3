"""Elder's impulse system and thermometer."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

THERMOMETER = ("value", "average")


@indicator(group="momentum indicators", reference="Elder 2002, Come into My Trading Room")
def elder_impulse(length: int = 13, fast: int = 12, slow: int = 26, signal: int = 9) -> Operator:
    """1 where an exponential average and the MACD histogram both rise, -1 where both fall, else 0."""
    at_least(1, length=length, fast=fast, slow=slow, signal=signal)
    averages = [exponential(one) for one in (length, fast, slow, signal)]

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        return (*(one.start(symbols) for one in averages), unseen, unseen)

    def step(state: State, inputs: State) -> Stepped:
        parts = [one.step(old, inputs[0]) for one, old in zip(averages[:3], state[:3], strict=True)]
        (_, inertia), (_, quick), (_, calm) = parts
        signals, line = averages[3].step(state[3], quick - calm)
        histogram = (quick - calm) - line
        up = (inertia > state[4]) & (histogram > state[5])
        down = (inertia < state[4]) & (histogram < state[5])
        known = np.isfinite(state[4]) & np.isfinite(state[5])
        value = np.where(known, 1.0 * up - 1.0 * down, np.nan)
        return (*(one for one, _ in parts), signals, inertia, histogram), (value,)

    return Recursive(start, step, lookback=max(length, max(fast, slow) + signal - 1) + 1)


@indicator(("high", "low"), THERMOMETER, group="volatility indicators", reference="Elder 2002")
def elder_thermometer(length: int = 22) -> Operator:
    """Distance by which a bar exceeds the one before it, in units of the price; and its exponential average.

    0 for a bar inside the one before it.
    """
    average = exponential(length)

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        return unseen, unseen, average.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        reached = np.maximum(inputs[0] - state[0], state[1] - inputs[1])
        value = np.where(np.isfinite(reached), np.maximum(reached, 0.0), np.nan)
        averages, smooth = average.step(state[2], value)
        return (*inputs, averages), (value, smooth)

    return Recursive(start, step, THERMOMETER, lookback=length + 1)
