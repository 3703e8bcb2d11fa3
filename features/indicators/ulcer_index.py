"""The ulcer index."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, subwindows
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(group="volatility indicators", reference="Martin & McCann 1989")
def ulcer_index(length: int = 14) -> Operator:
    """Root mean square of the drawdown, in percent, from the highest close of `length` bars."""
    at_least(1, length=length)

    def index(close: Array) -> Array:
        highest = subwindows(close, length).max(axis=-1)
        drawdown = 100.0 * (ratio(close[..., length - 1 :], highest) - 1.0)
        depth: Array = np.sqrt((drawdown * drawdown).mean(axis=-1))
        return depth

    return Window(index, 2 * length - 1, exact=True)
