"""Returns over bars, gaps and corporate actions: one definition for labels, books and benchmarks.

The return of a bar is that of a holder: from the last price known before the bar to the price in it, both
times the adjustment factor. A bar without a price has no return, and the bar that ends a trading halt has
the return of the whole halt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError

FloatArray = npt.NDArray[np.float64]


def fill_forward(prices: FloatArray) -> FloatArray:
    """Fill gaps in `prices` `[bars, symbols]` with the last price before them.

    A later price never fills a gap.
    """
    rows = np.where(np.isfinite(prices), np.arange(len(prices))[:, None], 0)
    filled: FloatArray = np.take_along_axis(prices, np.maximum.accumulate(rows, axis=0), axis=0)
    return filled


def simple_returns(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return `after / before - 1` for two prices; NaN where either is missing."""
    return after / before - 1.0


def bar_returns(prices: FloatArray) -> FloatArray:
    """Compute the return of each bar from adjusted prices.

    Parameters
    ----------
    prices : ndarray of float64, shape [bars, symbols]
        Adjusted prices; NaN where a symbol did not trade.

    Returns
    -------
    ndarray of float64, shape [bars, symbols]
        Return since the last known price; NaN in a bar without a price, and in a symbol's first bar.

    Examples
    --------
    >>> import numpy as np
    >>> bar_returns(np.array([[100.0], [np.nan], [110.0]])).round(2).ravel().tolist()
    [nan, nan, 0.1]
    """
    returns = np.full(prices.shape, np.nan)
    returns[1:] = simple_returns(fill_forward(prices)[:-1], prices[1:])
    return returns


def forward_returns(prices: FloatArray, horizon: int) -> FloatArray:
    """Compute the return over `horizon` bars that a signal at each close can earn.

    A signal made at close `t` is filled at close `t + 1` at the earliest, so row `t` is
    `prices[t + 1 + horizon] / prices[t + 1] - 1`, across halts and corporate actions between the two.

    Parameters
    ----------
    prices : ndarray of float64, shape [bars, symbols]
        Adjusted prices; NaN where a symbol did not trade.
    horizon : int
        Number of bars, at least 1.

    Returns
    -------
    ndarray of float64, shape [bars, symbols]
        NaN where either bar has no price, because nobody could enter or leave the position there, and in the
        last `horizon + 1` rows, whose outcome is not known yet.

    Raises
    ------
    InputError
        For a horizon below one bar.

    Examples
    --------
    >>> import numpy as np
    >>> forward_returns(np.array([[1.0], [2.0], [3.0], [6.0]]), horizon=1).ravel().tolist()
    [0.5, 1.0, nan, nan]
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; it is a number of bars, at least 1")
    returns = np.full(prices.shape, np.nan)
    if len(prices) > horizon + 1:
        returns[: -horizon - 1] = simple_returns(prices[1:-horizon], prices[horizon + 1 :])
    return returns
