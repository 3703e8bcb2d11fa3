"""Market structure: swings, and the levels and the trend they form."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import Array, State, Stepped, Trailing, at_least, join_states
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("higher_high", "lower_low", "support", "resistance", "trend")


@indicator(("high", "low"), OUTPUTS, group="price levels", reference="Dow theory; Rhea 1932")
def market_structure(left: int = 5, right: int = 5) -> Operator:
    """Direction of the last swings, the last swing's low and high, and the trend of both.

    A swing high is a high above those of the `left` bars before it and not below those of the `right` bars
    after it; it is known only after those, and so is a swing low. `higher_high` and `lower_low` are 1 if the
    last swing surpassed the one before it, else 0 (also while there are not two). `support` is the last swing
    low, `resistance` the last swing high, NaN before there is one. `trend` is 1 where both highs and lows
    rose, -1 where both fell, else 0.
    """
    at_least(1, left=left, right=right)
    bars = Trailing(left + right + 1)

    def start(symbols: int) -> State:
        swings = np.full((symbols, 2), np.nan)
        return bars.start(symbols), bars.start(symbols), swings, swings

    def step(state: State, inputs: State) -> Stepped:
        highs, lows = bars.step(state[0], inputs[0]), bars.step(state[1], inputs[1])
        tops, bottoms = _swing(state[2], highs, left), -_swing(-state[3], -lows, left)
        rising, falling = tops[:, 1] > tops[:, 0], bottoms[:, 1] < bottoms[:, 0]
        down = falling & (tops[:, 1] < tops[:, 0])
        trend = np.where(rising & (bottoms[:, 1] > bottoms[:, 0]), 1.0, np.where(down, -1.0, 0.0))
        surpassed = (np.where(rising, 1.0, 0.0), np.where(falling, 1.0, 0.0))
        return (highs, lows, tops, bottoms), (*surpassed, bottoms[:, 1], tops[:, 1], trend)

    return Recursive(start, step, OUTPUTS, lookback=left + right + 1)


def _swing(swings: Array, values: Array, left: int) -> Array:
    """Return the last two swing highs, `[n, 2]`, after the bar that ends `values`."""
    middle = values[:, left]
    # A bar that is missing is NaN, and no swing is above it.
    found = (values[:, :left].max(axis=1) < middle) & (values[:, left + 1 :].max(axis=1) <= middle)
    return np.where(found[:, None], join_states(swings[:, 1], middle), swings)
