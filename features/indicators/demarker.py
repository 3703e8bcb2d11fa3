"""The DeMarker."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(("high", "low"), group="momentum indicators", reference="DeMark 1994")
def demarker(length: int = 14) -> Operator:
    """Share of rising highs in rising highs and falling lows over `length` bars, 0 to 1; 0.5 without any."""
    at_least(1, length=length)

    def share(high: Array, low: Array) -> Array:
        rises = np.maximum(high[..., 1:] - high[..., :-1], 0.0).sum(axis=-1)
        falls = np.maximum(low[..., :-1] - low[..., 1:], 0.0).sum(axis=-1)
        moved = rises + falls
        return np.where(moved > 0.0, rises / np.where(moved > 0.0, moved, 1.0), 0.5)

    return Window(share, length + 1, exact=True)
