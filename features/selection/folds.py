"""Time folds of feature selection."""

from __future__ import annotations

import numpy as np

from alphaloop.statistics.purged_folds import Fold, folds_between

DEFAULT_FOLDS = 4


def time_folds(bars: int, horizon: int, count: int = DEFAULT_FOLDS) -> list[Fold]:
    """Return `count` consecutive tests over the last of `count + 1` equal parts of `bars` bars, purged."""
    edges = np.linspace(0, bars, count + 2).astype(int)
    return folds_between(edges[1:].tolist(), horizon)
