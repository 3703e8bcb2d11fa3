"""Label of selection: forward return from the first obtainable price, relative to the universe."""

from __future__ import annotations

import numpy as np

from alphaloop.decision import returns
from alphaloop.errors import InputError
from features.engine.cross_section import demean
from features.engine.operator import Matrix

MIN_SYMBOLS = 3


def forward_returns(close: Matrix, horizon: int) -> Matrix:
    """Return over `horizon` bars from the bar after the signal's, `[T, N]` of adjusted closes `[T, N]`.

    See `alphaloop.decision.returns.forward_returns`; `InputError` for a horizon below one bar.
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; it is a number of bars, at least 1")
    return returns.forward_returns(close, horizon)


def relative_forward_returns(close: Matrix, horizon: int) -> Matrix:
    """Return forward returns less their bar's mean, `[T, N]`; NaN on bars with fewer than three labels.

    A feature should predict which symbols do better than others, and not where the market goes.
    """
    labels = forward_returns(close, horizon)
    enough = np.isfinite(labels).sum(axis=1, keepdims=True) >= MIN_SYMBOLS
    return demean(np.where(enough, labels, np.nan))
