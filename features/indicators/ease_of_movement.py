"""Ease of movement."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.parameters import require_positive
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(("high", "low", "volume"), group="volume indicators", reference="Arms 1996")
def ease_of_movement(length: int = 14, divisor: float = 1e8) -> Operator:
    """Average of the median price's change times the bar's range, over its volume in units of `divisor`.

    NaN if a bar of the window did not trade.
    """
    at_least(1, length=length)
    require_positive("divisor", divisor)

    def average(high: Array, low: Array, volume: Array) -> Array:
        median = high / 2.0 + low / 2.0
        change = median[..., 1:] - median[..., :-1]
        moved = ratio(change * (high - low)[..., 1:], volume[..., 1:] / divisor)
        ease: Array = moved.mean(axis=-1)
        return ease

    return Window(average, length + 1, exact=True)
