"""Splits of time: training before testing, with a gap in which labels would overlap.

López de Prado 2018, "Advances in Financial Machine Learning", chapter 7 (purging).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from alphaloop.errors import DataError
from alphaloop.market import Timestamps

MINIMUM_TRAINING_BARS = 60


@dataclass(frozen=True, slots=True)
class Fold:
    """Bar indices to train on, and those to test on."""

    train: range
    test: range


def walk_forward(timestamps: Timestamps, first_test_year: int, folds: int, horizon: int) -> list[Fold]:
    """Split the bars from `first_test_year` on into `folds` tests, each trained on all that came before.

    Training stops `horizon + 1` bars before the test, so that its last label ends before the test
    begins. Raises `DataError` where there are too few bars before or after the start of that year.
    """
    start = int(np.searchsorted(timestamps, np.datetime64(f"{first_test_year}-01-01", "ns")))
    available = len(timestamps) - start
    if start - horizon - 1 < MINIMUM_TRAINING_BARS or available < folds * (horizon + 2):
        raise DataError(
            f"{len(timestamps)} bars from {_day(timestamps, 0)} to {_day(timestamps, -1)} leave {start} bars "
            f"before {first_test_year} and {available} after, too few for {folds} walk-forward folds; "
            "set training.first_test_year or training.folds to fit the data"
        )
    edges = np.linspace(start, len(timestamps), folds + 1).astype(int)
    return [
        Fold(train=purged(int(first), horizon), test=range(int(first), int(last)))
        for first, last in pairwise(edges)
    ]


def purged(test_start: int, horizon: int) -> range:
    """The bars before `test_start` whose labels are known before it."""
    return range(max(test_start - horizon - 1, 0))


def validation(training: range, horizon: int, share: float = 0.3) -> Fold:
    """The last `share` of the training bars as a purged validation part, for tuning."""
    start = training.start + int(len(training) * (1 - share))
    inner = range(training.start, max(start - horizon - 1, training.start))
    return Fold(train=inner, test=range(start, training.stop))


def _day(timestamps: Timestamps, index: int) -> str:
    return str(timestamps[index].astype("datetime64[D]")) if len(timestamps) else "nowhere"
