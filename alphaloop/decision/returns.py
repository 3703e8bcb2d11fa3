"""Returns over bars, gaps and corporate actions: one definition for labels, books and benchmarks.

The return of a bar is that of a holder: from the last price that was known before it to the price in it,
both times the adjustment factor. A bar without a price has no return, and the bar that ends a halt has all
of what happened meanwhile.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def last_known(prices: FloatArray) -> FloatArray:
    """`prices` `[bars, symbols]`, with gaps filled by the last price before them, never by one after."""
    rows = np.where(np.isfinite(prices), np.arange(len(prices))[:, None], 0)
    filled: FloatArray = np.take_along_axis(prices, np.maximum.accumulate(rows, axis=0), axis=0)
    return filled


def simple_returns(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return between two prices, of any one shape; NaN where either is missing."""
    return after / before - 1.0


def bar_returns(prices: FloatArray) -> FloatArray:
    """Return of each bar, `[bars, symbols]`, from adjusted prices of that shape.

    Taken from the last known price; NaN in a bar without a price, and in a symbol's first.
    """
    returns = np.full(prices.shape, np.nan)
    returns[1:] = simple_returns(last_known(prices)[:-1], prices[1:])
    return returns


def forward_returns(prices: FloatArray, horizon: int) -> FloatArray:
    """Return over `horizon` bars from the bar after the signal's, `[bars, symbols]`.

    A signal made at close `t` is filled at close `t + 1` at the earliest, so row `t` is
    `prices[t + 1 + horizon] / prices[t + 1] - 1`, over halts and actions between. It is NaN where either
    bar has no price: nobody could enter or leave there. So are the last `horizon + 1` rows: the market
    has not said yet. Raises `ValueError` for a horizon below one bar.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}; it is a number of bars, at least 1")
    returns = np.full(prices.shape, np.nan)
    if len(prices) > horizon + 1:
        returns[: -horizon - 1] = simple_returns(prices[1:-horizon], prices[horizon + 1 :])
    return returns
