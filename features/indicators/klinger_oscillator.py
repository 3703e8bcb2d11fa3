"""The Klinger volume oscillator."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("value", "signal")


@indicator(("high", "low", "close", "volume"), OUTPUTS, group="volume indicators", reference="Klinger 1997")
def klinger_oscillator(fast: int = 34, slow: int = 55, signal: int = 13) -> Operator:
    """Difference of two exponential averages of volume, signed by typical price changes; and its average.

    The simplified volume force that charting platforms use; a typical price that did not change counts 0.
    """
    at_least(1, fast=fast, slow=slow, signal=signal)
    averages = [exponential(length) for length in (fast, slow, signal)]

    def start(symbols: int) -> State:
        return (np.full(symbols, np.nan), *(one.start(symbols) for one in averages))

    def step(state: State, inputs: State) -> Stepped:
        high, low, close, volume = inputs
        typical = high + low + close
        force = volume * np.sign(typical - state[0])
        quick, fast_average = averages[0].step(state[1], force)
        calm, slow_average = averages[1].step(state[2], force)
        value = fast_average - slow_average
        signals, line = averages[2].step(state[3], value)
        return (typical, quick, calm, signals), (value, line)

    return Recursive(start, step, OUTPUTS, lookback=max(fast, slow) + signal)
