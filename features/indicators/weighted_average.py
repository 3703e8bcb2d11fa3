"""Averages whose weights follow a known sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from features.engine.arithmetic.parameters import require_between
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

MAX_LENGTH = 500
"""Weights that grow exponentially leave the range of a float beyond some thousand bars."""


def _weighted(sequence: Sequence[float]) -> Operator:
    weights = np.array(sequence, dtype=np.float64)
    weights /= weights.sum()

    def average(price: Array) -> Array:
        # Around the last price, so that the average of a constant is that constant.
        last = price[..., -1:]
        mean: Array = last[..., 0] + ((price - last) * weights).sum(axis=-1)
        return mean

    return Window(average, len(weights), exact=True)


@indicator(group="overlap studies", reference="pandas-ta: fwma")
def fibonacci_average(length: int = 10) -> Operator:
    """Average weighted by the Fibonacci numbers, the last bar by the largest."""
    require_between("length", length, 1, MAX_LENGTH)
    numbers = [1.0, 1.0]
    while len(numbers) < length:
        numbers.append(numbers[-1] + numbers[-2])
    return _weighted(numbers[:length])


@indicator(group="overlap studies", reference="pandas-ta: pwma")
def pascal_average(length: int = 10) -> Operator:
    """Average weighted by a row of Pascal's triangle: the middle bars count most."""
    require_between("length", length, 1, MAX_LENGTH)
    return _weighted([float(math.comb(length - 1, place)) for place in range(length)])


@indicator(group="overlap studies", reference="Everget: sine-weighted moving average")
def sine_average(length: int = 14) -> Operator:
    """Average weighted by half a period of the sine."""
    at_least(1, length=length)
    return _weighted([math.sin(math.pi * (place + 1) / (length + 1)) for place in range(length)])


@indicator(group="overlap studies", reference="pandas-ta: swma")
def symmetric_average(length: int = 10) -> Operator:
    """Average weighted by a triangle: 1, 2, … to the middle and back."""
    at_least(1, length=length)
    return _weighted([float(min(place + 1, length - place)) for place in range(length)])
