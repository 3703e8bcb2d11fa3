"""The volatility stop."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import AverageTrueRange, State, Stepped, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("line", "direction")


@indicator(
    ("high", "low", "close"), OUTPUTS, group="overlap studies", reference="Wilder 1978 (volatility system)"
)
def volatility_stop(length: int = 20, multiplier: float = 2.0) -> Operator:
    """Stop `multiplier` average true ranges from the best close since the trend turned, and the trend.

    `direction` is 1 above the stop, where it never falls, and -1 below, where it never rises; it turns when
    the close crosses the stop, and begins at 1.
    """
    at_least(1, length=length)
    ranges = AverageTrueRange(length)

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        return ranges.start(symbols), unseen, unseen, np.ones(symbols)

    def step(state: State, inputs: State) -> Stepped:
        close = inputs[2]
        spread, average = ranges.step(state[0], *inputs)
        best, line, direction = state[1:]
        width = multiplier * average
        begun = np.isfinite(line)
        best = np.where(begun, np.where(direction > 0.0, np.fmax(best, close), np.fmin(best, close)), close)
        rising, falling = best - width, best + width
        held = np.where(direction > 0.0, np.fmax(line, rising), np.fmin(line, falling))
        held = np.where(begun, held, rising)
        turned = begun & np.where(direction > 0.0, close < held, close > held)
        direction = np.where(turned, -direction, direction)
        best = np.where(turned, close, best)
        held = np.where(turned, np.where(direction > 0.0, close - width, close + width), held)
        return (spread, best, held, direction), (held, np.where(np.isfinite(held), direction, np.nan))

    return Recursive(start, step, OUTPUTS, lookback=length + 1)
