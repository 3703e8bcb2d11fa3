"""The center of gravity."""

from __future__ import annotations

import numpy as np

from features.arithmetic.division import ratio
from features.arithmetic.smoothing import at_least
from features.arithmetic.subwindows import Array
from features.indicator import indicator
from features.operator import Operator
from features.operators.window import Window


@indicator(group="momentum indicators", reference="Ehlers 2002")
def center_of_gravity(length: int = 10) -> Operator:
    """Minus the mean age of the closes in bars, counted from 1, each weighing its price."""
    at_least(1, length=length)
    ages = np.arange(length, 0, -1, dtype=np.float64)

    def centre(close: Array) -> Array:
        return -ratio((close * ages).sum(axis=-1), close.sum(axis=-1))

    return Window(centre, length, exact=True)
