"""The Laguerre RSI."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic.smoothing import State, Stepped
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="momentum indicators", reference="Ehlers 2004, Cybernetic Analysis")
def laguerre_rsi(gamma: float = 0.5) -> Operator:
    """Share of rises among the differences of four Laguerre filters of the close, 0 to 1; 0.5 without any."""
    if not 0.0 <= gamma < 1.0:
        raise InputError(f"'gamma' is {gamma:g}; it must be at least 0 and below 1")

    def start(symbols: int) -> State:
        return tuple(np.full(symbols, np.nan) for _ in range(4))

    def step(state: State, inputs: State) -> Stepped:
        close = inputs[0]
        old = [np.where(np.isfinite(one), one, close) for one in state]
        lines = [close + gamma * (old[0] - close)]
        for place in range(1, 4):
            # Written around the line before, so that a constant price stays exactly that.
            lines.append(old[place - 1] + gamma * (old[place] - lines[-1]))
        steps = [above - below for above, below in pairwise(lines)]
        rises = sum((np.maximum(one, 0.0) for one in steps), np.zeros_like(close))
        falls = sum((np.maximum(-one, 0.0) for one in steps), np.zeros_like(close))
        moved = rises + falls
        value = np.where(moved > 0.0, rises / np.where(moved > 0.0, moved, 1.0), 0.5)
        return tuple(lines), (value,)

    return Recursive(start, step, lookback=4)
