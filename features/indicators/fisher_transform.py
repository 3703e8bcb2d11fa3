"""Fisher transform of a price's position in its range."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("fisher", "signal")


@indicator(("high", "low"), OUTPUTS, group="momentum indicators", reference="Ehlers 2002")
def fisher_transform(length: int = 9) -> Operator:
    """Median price's position in its range, smoothed and made nearly Gaussian; its value a bar ago.

    A range of zero counts as its middle. A smoothed position beyond ±0.99 counts as ±0.999, as in the paper.
    """
    at_least(1, length=length)
    bars = Trailing(length)

    def start(symbols: int) -> State:
        return bars.start(symbols), np.zeros(symbols), np.zeros(symbols)

    def step(state: State, inputs: State) -> Stepped:
        median = inputs[0] / 2.0 + inputs[1] / 2.0
        medians = bars.step(state[0], median)
        lowest, highest = medians.min(axis=1), medians.max(axis=1)
        extent = highest - lowest
        place = np.where(extent > 0.0, (median - lowest) / np.where(extent > 0.0, extent, 1.0), 0.5)
        smooth = 0.66 * (place - 0.5) + 0.67 * state[1]
        smooth = np.where(np.abs(smooth) > 0.99, np.copysign(0.999, smooth), smooth)
        fisher = 0.5 * np.log((1.0 + smooth) / (1.0 - smooth)) + 0.5 * state[2]
        full = np.isfinite(lowest)
        after = (medians, np.where(full, smooth, 0.0), np.where(full, fisher, 0.0))
        return after, (np.where(full, fisher, np.nan), np.where(full, state[2], np.nan))

    return Recursive(start, step, OUTPUTS, lookback=length, exact=False)
