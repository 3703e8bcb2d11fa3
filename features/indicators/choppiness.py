"""The choppiness index."""

from __future__ import annotations

import math

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, true_ranges
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(("high", "low", "close"), group="volatility indicators", reference="Dreiss 1993")
def choppiness(length: int = 14) -> Operator:
    """Path length of the price relative to its range: 100 in a pure range, towards 0 in a pure trend.

    `100 log10(sum of true ranges / (highest high - lowest low)) / log10(length)`; NaN without a range.
    """
    at_least(2, length=length)

    def index(high: Array, low: Array, close: Array) -> Array:
        travelled = true_ranges(high, low, close).sum(axis=-1)
        covered = high[..., 1:].max(axis=-1) - low[..., 1:].min(axis=-1)
        share = ratio(travelled, covered)
        return 100.0 * np.log10(np.where(share > 0.0, share, np.nan)) / math.log10(length)

    return Window(index, length + 1)
