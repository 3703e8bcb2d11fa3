"""The fractal adaptive moving average."""

from __future__ import annotations

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic.smoothing import Array, State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(("high", "low"), group="overlap studies", reference="Ehlers 2005")
def frama(length: int = 16) -> Operator:
    """Average of the median price that slows as the price becomes more jagged: weight `exp(-4.6 (D - 1))`.

    D is the fractal dimension of the last `length` bars (an even number); the weight is clipped to 0.01 … 1.
    """
    at_least(2, length=length)
    if length % 2:
        raise InputError(f"'length' is {length}; it must be even")
    bars, half = Trailing(length), length // 2

    def start(symbols: int) -> State:
        return bars.start(symbols), bars.start(symbols), np.full(symbols, np.nan)

    def step(state: State, inputs: State) -> Stepped:
        highs, lows = bars.step(state[0], inputs[0]), bars.step(state[1], inputs[1])
        median = inputs[0] / 2.0 + inputs[1] / 2.0
        older = _extent(highs[:, :half], lows[:, :half]) / half
        newer = _extent(highs[:, half:], lows[:, half:]) / half
        whole = _extent(highs, lows) / length
        known = (older + newer > 0.0) & (whole > 0.0)
        growth = np.where(known, (older + newer) / np.where(known, whole, 1.0), 1.0)
        weight = np.clip(np.exp(-4.6 * (np.log2(growth) - 1.0)), 0.01, 1.0)
        before = np.where(np.isfinite(state[2]), state[2], median)
        average = np.where(np.isfinite(lows[:, 0]), before + weight * (median - before), np.nan)
        return (highs, lows, average), (average,)

    return Recursive(start, step, lookback=length, exact=False)


def _extent(high: Array, low: Array) -> Array:
    return np.asarray(high.max(axis=1) - low.min(axis=1))
