"""Polarized fractal efficiency."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="momentum indicators", reference="Hannula 1994")
def polarized_fractal_efficiency(length: int = 10, smooth: int = 5) -> Operator:
    """Straightness of the close's path over `length` bars, signed by direction, averaged; -100 to 100.

    Length of the straight line over that of the path along the closes, a bar counting as one percent of the
    first close of the window, which makes the measure independent of the price's scale.
    """
    at_least(1, length=length, smooth=smooth)
    closes, average = Trailing(length + 1), exponential(smooth)

    def start(symbols: int) -> State:
        return closes.start(symbols), average.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = closes.step(state[0], inputs[0])
        percent = 100.0 * ratio(recent - recent[:, :1], np.repeat(recent[:, :1], length + 1, axis=1))
        steps = np.diff(percent, axis=1)
        way = np.sqrt(steps * steps + 1.0).sum(axis=1)
        moved = percent[:, -1]
        straight = np.sqrt(moved * moved + float(length * length))
        averages, value = average.step(state[1], 100.0 * np.sign(moved) * straight / way)
        return (recent, averages), (value,)

    return Recursive(start, step, lookback=length + smooth)
