"""Wilder's swing index."""

from __future__ import annotations

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window


@indicator(("open", "high", "low", "close"), group="momentum indicators", reference="Wilder 1978")
def swing_index(limit: float = 0.5) -> Operator:
    """Wilder's comparison of two bars; the limit move is `limit` times the close before. 0 without a range.

    `50 (dC + (C - O) / 2 + (C' - O') / 4) / R × K / L`, where dC is the close's change, K the larger
    distance of high or low from the close before, L the limit move, and R the true range as Wilder
    composes it.
    """
    if not limit > 0.0:
        raise InputError(f"'limit' is {limit:g}; it must be above 0")

    def swing(opened: Array, high: Array, low: Array, close: Array) -> Array:
        before, start = close[..., 0], opened[..., 0]
        top, bottom = np.abs(high[..., 1] - before), np.abs(low[..., 1] - before)
        extent, gap = high[..., 1] - low[..., 1], np.abs(before - start)
        by_top = (top >= bottom) & (top >= extent)
        by_bottom = ~by_top & (bottom >= extent)
        composed = np.where(by_top, top - bottom / 2.0, np.where(by_bottom, bottom - top / 2.0, extent))
        composed = composed + gap / 4.0
        move = (close[..., 1] - before) + (close[..., 1] - opened[..., 1]) / 2.0 + (before - start) / 4.0
        known = (composed > 0.0) & (before > 0.0)
        reach = np.maximum(top, bottom) / np.where(known, limit * before, 1.0)
        return np.where(known, 50.0 * move / np.where(known, composed, 1.0) * reach, 0.0)

    return Window(swing, 2, exact=True)
