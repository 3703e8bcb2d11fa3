"""The squeeze: Bollinger bands inside Keltner channels."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import (
    Array,
    centred_mean,
    deviation,
    line_end,
    subwindows,
    true_ranges,
)
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("momentum", "on", "off")


@indicator(
    ("high", "low", "close"), OUTPUTS, group="volatility indicators", reference="Carter 2005; LazyBear"
)
def squeeze(length: int = 20, deviations: float = 2.0, multiplier: float = 1.5) -> Operator:
    """Compression of volatility, and the momentum with which it may be released.

    `on` is 1 where the Bollinger bands lie inside the Keltner channel (average true range of plain average),
    `off` where they lie outside. `momentum` is the end of the least-squares line through the close's distance
    from the mean of its average and the middle of its range, in units of the price.
    """
    at_least(2, length=length)

    def state(high: Array, low: Array, close: Array) -> tuple[Array, Array, Array]:
        last = close[..., -length:]
        width = deviations * deviation(last)
        ranges = true_ranges(high, low, close)[..., -length:]
        channel = multiplier * centred_mean(ranges)
        closes = subwindows(close, length)
        middle = (subwindows(high, length).max(axis=-1) + subwindows(low, length).min(axis=-1)) / 2.0
        distance = last - (middle + centred_mean(closes)) / 2.0
        return line_end(distance), np.where(width < channel, 1.0, 0.0), np.where(width > channel, 1.0, 0.0)

    return Window(state, 2 * length - 1, OUTPUTS, exact=True)
