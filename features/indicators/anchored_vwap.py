"""Volume-weighted average prices from an anchor: a period's start, an extreme, or so many bars ago."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.period import WithPeriod, period_label
from features.engine.arithmetic.smoothing import Array, State, Stepped, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive
from features.engine.operators.window import Window

EXTREMES = ("from_highest", "from_lowest")


@indicator(("high", "low", "close", "volume"), group="volume indicators", reference="Shannon 2022", version=2)
def anchored_vwap(anchor: str = "month") -> Operator:
    """Average traded price since the session, week, month or year of the bars' calendar began.

    A bar counts with its typical price, `(high + low + close) / 3`. NaN until something traded.
    """

    def start(symbols: int) -> State:
        return tuple(np.full(symbols, np.nan) for _ in range(3))

    def step(state: State, inputs: State) -> Stepped:
        high, low, close, volume, period = inputs
        new = state[0] != period
        money = np.where(new, 0.0, state[1]) + (high + low + close) / 3.0 * volume
        shares = np.where(new, 0.0, state[2]) + volume
        return (period, money, shares), (ratio(money, shares),)

    return WithPeriod(Recursive(start, step), period_label(anchor))


@indicator(("high", "low", "close", "volume"), EXTREMES, group="volume indicators", reference="Shannon 2022")
def extreme_vwap(length: int = 50) -> Operator:
    """Average traded price since the highest and since the lowest close of `length` bars.

    The anchor's own bar counts; of equal closes the latest is the anchor.
    """
    at_least(1, length=length)

    def averages(high: Array, low: Array, close: Array, volume: Array) -> tuple[Array, Array]:
        money = (high + low + close) / 3.0 * volume
        last = close.shape[-1] - 1
        highest = last - close[..., ::-1].argmax(axis=-1)
        lowest = last - close[..., ::-1].argmin(axis=-1)
        places = np.arange(last + 1)
        since = (places >= anchor[..., None] for anchor in (highest, lowest))
        high_vwap, low_vwap = (
            ratio(np.where(here, money, 0.0).sum(axis=-1), np.where(here, volume, 0.0).sum(axis=-1))
            for here in since
        )
        return high_vwap, low_vwap

    return Window(averages, length, EXTREMES)


@indicator(("high", "low", "close", "volume"), group="volume indicators", reference="Berkowitz et al. 1988")
def rolling_vwap(length: int = 20) -> Operator:
    """Average traded price of `length` bars, each with its typical price; NaN where nothing traded."""
    at_least(1, length=length)

    def average(high: Array, low: Array, close: Array, volume: Array) -> Array:
        money = ((high + low + close) / 3.0 * volume).sum(axis=-1)
        return ratio(money, volume.sum(axis=-1))

    return Window(average, length)
