"""The emotion and willingness indices AR and BR."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("ar", "br")


@indicator(
    ("open", "high", "low", "close"), OUTPUTS, group="momentum indicators", reference="pandas-ta: brar"
)
def brar(length: int = 26) -> Operator:
    """Emotion (AR) and willingness (BR): moves above over moves below the open or prior close, in percent.

    Sums over `length` bars; NaN where no bar went below.
    """
    at_least(1, length=length)

    def indices(opened: Array, high: Array, low: Array, close: Array) -> tuple[Array, Array]:
        high, low, opened, before = high[..., 1:], low[..., 1:], opened[..., 1:], close[..., :-1]
        emotion = ratio((high - opened).sum(axis=-1), (opened - low).sum(axis=-1))
        above, below = np.maximum(high - before, 0.0), np.maximum(before - low, 0.0)
        return 100.0 * emotion, 100.0 * ratio(above.sum(axis=-1), below.sum(axis=-1))

    return Window(indices, length + 1, OUTPUTS, exact=True)
