"""Label of selection: forward return from the first obtainable price, relative to the universe."""

from __future__ import annotations

import numpy as np

from alphaloop.decision.returns import forward_returns
from alphaloop.statistics.information_coefficient import MIN_SYMBOLS
from features.engine.cross_section import demean
from features.engine.operator import Matrix


def relative_forward_returns(close: Matrix, horizon: int) -> Matrix:
    """Return forward returns less their bar's mean, `[T, N]`; NaN on bars with fewer than three labels.

    A feature should predict which symbols do better than others, and not where the market goes.
    """
    labels = forward_returns(close, horizon)
    enough = np.isfinite(labels).sum(axis=1, keepdims=True) >= MIN_SYMBOLS
    return demean(np.where(enough, labels, np.nan))
