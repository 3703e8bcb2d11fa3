"""The variable index dynamic average."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="overlap studies", reference="Chande 1992")
def vidya(length: int = 14) -> Operator:
    """Exponential average whose weight is scaled by the absolute Chande momentum of `length` changes.

    It begins at the close of the first bar for which that momentum is known; no change at all is no momentum.
    """
    at_least(1, length=length)
    changes, weight = Trailing(length), 2.0 / (length + 1.0)

    def start(symbols: int) -> State:
        return np.full(symbols, np.nan), changes.start(symbols), np.full(symbols, np.nan)

    def step(state: State, inputs: State) -> Stepped:
        close = inputs[0]
        recent = changes.step(state[1], close - state[0])
        moved = np.abs(recent).sum(axis=1)
        known = moved > 0.0
        momentum = np.where(known, np.abs(recent.sum(axis=1)) / np.where(known, moved, 1.0), 0.0)
        before = np.where(np.isfinite(state[2]), state[2], close)
        average = np.where(np.isfinite(recent[:, 0]), before + weight * momentum * (close - before), np.nan)
        return (close, recent, average), (average,)

    return Recursive(start, step, lookback=length + 1)
