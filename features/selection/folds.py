"""Purged time folds: each trains on the bars before its test, without labels that overlap it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

DEFAULT_FOLDS = 4


@dataclass(frozen=True, slots=True)
class TimeFold:
    """Bars to train on and bars to test on; training bars come first."""

    train: range
    test: range


def time_folds(bars: int, horizon: int, count: int = DEFAULT_FOLDS) -> list[TimeFold]:
    """Return `count` consecutive tests over the last of `count + 1` equal parts of `bars` bars.

    Training ends `horizon + 1` bars before its test, when its last label has matured. Never a random split
    (López de Prado 2018, chapter 7).
    """
    edges = np.linspace(0, bars, count + 2).astype(int)
    return [
        TimeFold(range(max(int(first) - horizon - 1, 0)), range(int(first), int(last)))
        for first, last in pairwise(edges[1:])
    ]
