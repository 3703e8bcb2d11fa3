"""The relative vigor index."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, subwindows
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("value", "signal")


@indicator(("open", "high", "low", "close"), OUTPUTS, group="momentum indicators", reference="Ehlers 2002")
def relative_vigor(length: int = 10) -> Operator:
    """Distance of the close above the open, as a share of the range; and its symmetric average of four."""
    at_least(1, length=length)

    def vigor(opened: Array, high: Array, low: Array, close: Array) -> tuple[Array, Array]:
        rise = subwindows(_symmetric(close - opened), length).sum(axis=-1)
        extent = subwindows(_symmetric(high - low), length).sum(axis=-1)
        values = ratio(rise, extent)
        return values[..., -1], _symmetric(values)[..., -1]

    return Window(vigor, length + 6, OUTPUTS, exact=True)


def _symmetric(values: Array) -> Array:
    """Return averages of four with the weights 1, 2, 2, 1."""
    outer, inner = values[..., :-3] + values[..., 3:], values[..., 1:-2] + values[..., 2:-1]
    return (outer + 2.0 * inner) / 6.0
