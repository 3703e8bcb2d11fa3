"""The Arnaud Legoux moving average."""

from __future__ import annotations

import math

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(group="overlap studies", reference="Legoux & Kouzis-Loukas 2009")
def alma(length: int = 9, sigma: float = 6.0, offset: float = 0.85) -> Operator:
    """Average with Gaussian weights whose peak lies `offset` of the way to the last bar."""
    at_least(1, length=length)
    if sigma <= 0.0 or not 0.0 <= offset <= 1.0:
        raise InputError(f"sigma {sigma:g} must be above 0 and offset {offset:g} from 0 to 1")
    peak, width = offset * (length - 1), length / sigma
    weights = np.array([math.exp(-((place - peak) ** 2) / (2.0 * width**2)) for place in range(length)])
    weights /= weights.sum()

    def average(price: Array) -> Array:
        last = price[..., -1:]
        mean: Array = last[..., 0] + ((price - last) * weights).sum(axis=-1)
        return mean

    return Window(average, length, exact=True)
