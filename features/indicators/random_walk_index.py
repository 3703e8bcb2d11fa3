"""The random walk index."""

from __future__ import annotations

import math

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, true_ranges
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("high", "low")


@indicator(("high", "low", "close"), OUTPUTS, group="momentum indicators", reference="Poulos 1991")
def random_walk_index(length: int = 14) -> Operator:
    """Largest rise, and fall, in multiples of the expected move of a random walk over as many bars.

    The largest over horizons of 2 to `length` bars of `(high - low[n]) / (mean true range of the n bars
    before the last × sqrt(n))`; for the fall `high[n] - low`.
    """
    at_least(2, length=length)

    def index(high: Array, low: Array, close: Array) -> tuple[Array, Array]:
        ranges = true_ranges(high, low, close)
        best = [np.full(high.shape[:-1], np.nan) for _ in OUTPUTS]
        for bars in range(2, length + 1):
            typical = ranges[..., -bars - 1 : -1].mean(axis=-1) * math.sqrt(bars)
            reached = (high[..., -1] - low[..., -1 - bars], high[..., -1 - bars] - low[..., -1])
            best = [np.fmax(old, ratio(one, typical)) for old, one in zip(best, reached, strict=True)]
        return best[0], best[1]

    return Window(index, length + 2, OUTPUTS, exact=True)
