"""The setup of the TD sequential."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("buy_setup", "sell_setup")


@indicator(outputs=OUTPUTS, group="momentum indicators", reference="DeMark 1994")
def td_sequential(length: int = 4) -> Operator:
    """Bars in a row that closed below, and above, the close `length` bars before: 9 completes a setup.

    The count continues past 9.
    """
    at_least(1, length=length)
    closes = Trailing(length + 1)

    def start(symbols: int) -> State:
        return closes.start(symbols), np.zeros(symbols), np.zeros(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = closes.step(state[0], inputs[0])
        below = np.where(recent[:, -1] < recent[:, 0], state[1] + 1.0, 0.0)
        above = np.where(recent[:, -1] > recent[:, 0], state[2] + 1.0, 0.0)
        return (recent, below, above), (below, above)

    return Recursive(start, step, OUTPUTS, lookback=length + 1)
