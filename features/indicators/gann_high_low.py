"""The Gann high-low activator."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least
from features.engine.arithmetic.subwindows import centred_mean
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("line", "direction")


@indicator(("high", "low", "close"), OUTPUTS, group="overlap studies", reference="Krausz 1998")
def gann_high_low(high_length: int = 13, low_length: int = 21) -> Operator:
    """Average low while closes exceed the last average high; average high while below the average low.

    `direction` is 1 on the low's average, -1 on the high's; between the two averages it is unchanged, and is
    0 (line NaN) before the first crossing.
    """
    at_least(1, high_length=high_length, low_length=low_length)
    tops, bottoms = Trailing(high_length), Trailing(low_length)

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        return tops.start(symbols), bottoms.start(symbols), unseen, unseen, np.zeros(symbols)

    def step(state: State, inputs: State) -> Stepped:
        highs, lows = tops.step(state[0], inputs[0]), bottoms.step(state[1], inputs[1])
        upper, lower = centred_mean(highs), centred_mean(lows)
        close, direction = inputs[2], state[4]
        direction = np.where(close < state[3], -1.0, direction)
        direction = np.where(close > state[2], 1.0, direction)
        line = np.where(direction > 0.0, lower, np.where(direction < 0.0, upper, np.nan))
        return (highs, lows, upper, lower, direction), (line, direction)

    return Recursive(start, step, OUTPUTS, lookback=max(high_length, low_length) + 1)
