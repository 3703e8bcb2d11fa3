"""The label of selection: what a symbol does next, from the first price at which it can be had."""

from __future__ import annotations

import numpy as np

from alphaloop.errors import InputError
from features.cross_section import demean
from features.operator import Matrix

LEAST_SYMBOLS = 3


def forward_returns(close: Matrix, horizon: int) -> Matrix:
    """Return over `horizon` bars from the bar after the signal's, `[T, N]` of adjusted closes `[T, N]`.

    A signal at close `t` is filled at close `t + 1` at the earliest, so row `t` holds
    `close[t + 1 + horizon] / close[t + 1] - 1`. The last `horizon + 1` rows are NaN: they have not
    matured. `InputError` for a horizon below one bar.
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; it is a number of bars, at least 1")
    returns = np.full(close.shape, np.nan)
    if len(close) > horizon + 1:
        returns[: -horizon - 1] = close[horizon + 1 :] / close[1:-horizon] - 1.0
    return returns


def target(close: Matrix, horizon: int) -> Matrix:
    """Forward returns less their bar's mean, `[T, N]`; NaN on bars where fewer than three symbols have one.

    A feature is to say which symbols will do better than the others, and not where the market goes.
    """
    returns = forward_returns(close, horizon)
    enough = np.isfinite(returns).sum(axis=1, keepdims=True) >= LEAST_SYMBOLS
    return demean(np.where(enough, returns, np.nan))
