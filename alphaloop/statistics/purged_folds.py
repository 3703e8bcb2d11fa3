"""Purged folds: training ends where its labels would overlap the test.

López de Prado 2018, "Advances in Financial Machine Learning", chapter 7. Never a random split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices of the bars to train on and of the bars to test on; training bars come first."""

    train: range
    test: range


def purged_training_bars(test_start: int, horizon: int) -> range:
    """Return the bars before `test_start` whose labels over `horizon` bars are known before it."""
    return range(max(test_start - horizon - 1, 0))


def folds_between(edges: Sequence[int], horizon: int) -> list[Fold]:
    """Return a fold for each two neighbours of `edges`: a test between them, trained on all bars before.

    Training stops `horizon + 1` bars before the test, when its last label has matured.
    """
    return [
        Fold(train=purged_training_bars(first, horizon), test=range(first, last))
        for first, last in pairwise(edges)
    ]
