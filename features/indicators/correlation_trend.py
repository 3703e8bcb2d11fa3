"""The correlation trend indicator."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(group="momentum indicators", reference="Ehlers 2020")
def correlation_trend(length: int = 12) -> Operator:
    """Correlation of the closes with a rising straight line, -1 to 1; 0 for a constant price."""
    at_least(2, length=length)
    places = np.arange(length) - (length - 1) / 2.0

    def correlation(close: Array) -> Array:
        around = close - close[..., -1:]
        around = around - around.mean(axis=-1, keepdims=True)
        # In units of the largest distance: squares of tiny or huge prices leave the range of a float.
        unit = np.abs(around).max(axis=-1, keepdims=True)
        around = around / np.where(unit > 0.0, unit, 1.0)
        power = np.sqrt((around * around).sum(axis=-1) * (places * places).sum())
        value = (around * places).sum(axis=-1) / np.where(power > 0.0, power, 1.0)
        held: Array = np.clip(value, -1.0, 1.0)
        return held

    return Window(correlation, length, exact=True)
