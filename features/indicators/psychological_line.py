"""Psychological line and trend intensity: shares of the last closes that were high."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, centred_mean, subwindows
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(group="momentum indicators", reference="pandas-ta: psl")
def psychological_line(length: int = 12) -> Operator:
    """Percentage of the last `length` bars that closed above the bar before."""
    at_least(1, length=length)

    def share(close: Array) -> Array:
        rises: Array = np.where(close[..., 1:] > close[..., :-1], 100.0, 0.0).sum(axis=-1)
        return rises / length

    return Window(share, length + 1, exact=True)


@indicator(group="momentum indicators", reference="Pee 2002")
def trend_intensity(length: int = 30) -> Operator:
    """Share, in percent, of the positive part in the closes' distances from their average of `2 length` bars.

    Distances of the last `length` closes from the average at the last bar; 50 where there are none.
    """
    at_least(1, length=length)

    def intensity(close: Array) -> Array:
        distance = close[..., length:] - centred_mean(close)[..., None]
        above, below = np.maximum(distance, 0.0).sum(axis=-1), np.maximum(-distance, 0.0).sum(axis=-1)
        moved = above + below
        return np.where(moved > 0.0, 100.0 * above / np.where(moved > 0.0, moved, 1.0), 50.0)

    return Window(intensity, 2 * length, exact=True)


@indicator(("high", "low", "close"), group="momentum indicators", reference="Carter; pandas-ta: ttm_trend")
def ttm_trend(length: int = 6) -> Operator:
    """1 where the close is above the average median price of `length` bars, -1 where it is below, else 0."""
    at_least(1, length=length)

    def direction(high: Array, low: Array, close: Array) -> Array:
        median = high / 2.0 + low / 2.0
        return np.sign(close[..., -1] - centred_mean(subwindows(median, length))[..., -1])

    return Window(direction, length, exact=True)
