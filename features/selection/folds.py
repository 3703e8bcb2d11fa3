"""Folds of time: each is trained on the bars before it, less those whose labels reach into it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FOLDS = 4


@dataclass(frozen=True, slots=True)
class Fold:
    """Bars to train on and bars to test on; all of the first lie before all of the second."""

    train: range
    test: range


def folds(bars: int, horizon: int, count: int = FOLDS) -> list[Fold]:
    """`count` tests one after the other over the last of `count + 1` equal stretches of `bars` bars.

    Training stops `horizon + 1` bars before a test begins: by then its last label has ended. Never a
    random split (López de Prado 2018, chapter 7).
    """
    edges = np.linspace(0, bars, count + 2).astype(int)
    return [
        Fold(range(max(int(first) - horizon - 1, 0)), range(int(first), int(last)))
        for first, last in pairwise(edges[1:])
    ]
