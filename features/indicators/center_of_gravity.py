"""The center of gravity."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(group="momentum indicators", reference="Ehlers 2002")
def center_of_gravity(length: int = 10) -> Operator:
    """Minus the mean age of the closes in bars, counted from 1, each weighing its price."""
    at_least(1, length=length)
    ages = np.arange(length, 0, -1, dtype=np.float64)

    def centre(close: Array) -> Array:
        return -ratio((close * ages).sum(axis=-1), close.sum(axis=-1))

    return Window(centre, length, exact=True)
