"""Ichimoku cloud, as far as it is known at the bar."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, range_midpoint
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("conversion", "base", "span_a", "span_b", "lagging")


@indicator(("high", "low", "close"), OUTPUTS, group="overlap studies", reference="Hosoda 1969")
def ichimoku(conversion: int = 9, base: int = 26, span: int = 52) -> Operator:
    """Conversion and base line, the cloud plotted at this bar, and the close against that of `base` bars ago.

    The lines are halfway between the highest high and the lowest low of their bars. The spans were computed
    `base` bars ago, so they are those that a chart, which plots them ahead, shows at this bar. The lagging
    span, which a chart plots back, is given as `close / close[base] - 1`, for which it is read.
    """
    at_least(1, conversion=conversion, base=base, span=span)

    def lines(high: Array, low: Array, close: Array) -> tuple[Array, ...]:
        def middle(length: int, ago: int) -> Array:
            end = high.shape[-1] - ago
            return range_midpoint(high[..., end - length : end], low[..., end - length : end])

        span_a = (middle(conversion, base) + middle(base, base)) / 2.0
        lagging = ratio(close[..., -1], close[..., -1 - base]) - 1.0
        return middle(conversion, 0), middle(base, 0), span_a, middle(span, base), lagging

    return Window(lines, base + max(conversion, base, span), OUTPUTS, exact=True)
