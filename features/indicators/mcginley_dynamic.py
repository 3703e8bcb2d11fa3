"""McGinley's dynamic."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.parameters import require_positive
from features.engine.arithmetic.smoothing import State, Stepped, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="overlap studies", reference="McGinley 1990")
def mcginley_dynamic(length: int = 10, factor: float = 0.6) -> Operator:
    """Average that follows a falling price quickly and a rising one slowly.

    The step is `(close - line) / (factor length (close / line)^4)`, at most the distance to the close; the
    line begins at the first close.
    """
    at_least(1, length=length)
    require_positive("factor", factor)

    def start(symbols: int) -> State:
        return (np.full(symbols, np.nan),)

    def step(state: State, inputs: State) -> Stepped:
        close = inputs[0]
        line = np.where(np.isfinite(state[0]), state[0], close)
        quotient = np.where(line != 0.0, close / np.where(line != 0.0, line, 1.0), 1.0)
        square = quotient * quotient
        pace = np.maximum(factor * length * (square * square), 1.0)
        after = line + (close - line) / pace
        return (after,), (after,)

    return Recursive(start, step, lookback=length)
