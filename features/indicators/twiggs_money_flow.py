"""Twiggs' money flow, and the share of volume in rising bars."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import State, Stepped, at_least, wilder
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive
from features.engine.operators.window import Window

INPUTS = ("high", "low", "close", "volume")


@indicator(INPUTS, group="volume indicators", reference="Twiggs 2001")
def twiggs_money_flow(length: int = 21) -> Operator:
    """Wilder's average of volume, signed by the close's position in the true range, over that of volume.

    -1 to 1; a bar without a true range counts 0, and NaN while nothing traded.
    """
    average = wilder(length)

    def start(symbols: int) -> State:
        return np.full(symbols, np.nan), average.start(symbols), average.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        high, low, close, volume = inputs
        top, bottom = np.maximum(high, state[0]), np.minimum(low, state[0])
        known = top > bottom
        place = ((close - bottom) - (top - close)) / np.where(known, top - bottom, 1.0)
        place = np.where(known, place, np.where(np.isfinite(top), 0.0, np.nan))
        flows, flow = average.step(state[1], place * volume)
        volumes, traded = average.step(state[2], np.where(np.isfinite(place), volume, np.nan))
        return (close, flows, volumes), (ratio(flow, traded),)

    return Recursive(start, step, lookback=length + 1)


@indicator(("open", "close", "volume"), group="volume indicators", reference="Elder 1993")
def up_volume_share(length: int = 20) -> Operator:
    """Share of the volume of `length` bars that traded in bars that closed above their open, 0 to 1.

    A bar that closed where it opened counts half; NaN where nothing traded.
    """
    at_least(1, length=length)

    def share(opened: Array, close: Array, volume: Array) -> Array:
        weight = 0.5 + 0.5 * np.sign(close - opened)
        return ratio((weight * volume).sum(axis=-1), volume.sum(axis=-1))

    return Window(share, length, exact=True)
