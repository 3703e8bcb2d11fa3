"""Splits of time: training before testing, with a gap where labels would overlap.

López de Prado 2018, "Advances in Financial Machine Learning", chapter 7 (purging).
"""

from __future__ import annotations

import numpy as np

from alphaloop.bars import Timestamps
from alphaloop.errors import DataError
from alphaloop.statistics.purged_folds import Fold, folds_between

MIN_TRAINING_BARS = 60
DEFAULT_FIRST_TEST_YEAR = 2010


def walk_forward_folds(
    timestamps: Timestamps, first_test: int | str | None, folds: int, horizon: int
) -> list[Fold]:
    """Split the bars from `first_test` on into `folds` tests, each trained on all earlier bars.

    `first_test` is a calendar year, a share of the bars as "0.5", or a day as "2023-07-01". None takes
    `DEFAULT_FIRST_TEST_YEAR` where the bars leave enough on either side of it, and half of the bars
    otherwise. Training stops `horizon + 1` bars before the test, so that its last label ends before the test
    begins. Raises `DataError` where there are too few bars before or after the start.
    """
    start = _start(timestamps, first_test, folds, horizon)
    if not _fits(timestamps, start, folds, horizon):
        raise DataError(_misfit(timestamps, start, first_test, folds, horizon))
    edges = np.linspace(start, len(timestamps), folds + 1).astype(int)
    return folds_between(edges.tolist(), horizon)


def _start(timestamps: Timestamps, first_test: int | str | None, folds: int, horizon: int) -> int:
    """Return the index of the first tested bar."""
    if first_test is None:
        start = _start(timestamps, DEFAULT_FIRST_TEST_YEAR, folds, horizon)
        return start if _fits(timestamps, start, folds, horizon) else len(timestamps) // 2
    if isinstance(first_test, str) and (share := parse_share(first_test)) is not None:
        return int(len(timestamps) * share)
    day = f"{first_test}-01-01" if isinstance(first_test, int) else first_test
    return int(np.searchsorted(timestamps, np.datetime64(day, "ns")))


def parse_share(first_test: str) -> float | None:
    """Return the share of the bars that `first_test` names; None where it names a day."""
    try:
        return float(first_test)
    except ValueError:
        return None


def _fits(timestamps: Timestamps, start: int, folds: int, horizon: int) -> bool:
    enough = start - horizon - 1 >= MIN_TRAINING_BARS
    return enough and len(timestamps) - start >= folds * (horizon + 2)


def _misfit(
    timestamps: Timestamps, start: int, first_test: int | str | None, folds: int, horizon: int
) -> str:
    history = f"{len(timestamps)} bars from {_day(timestamps, 0)} to {_day(timestamps, -1)}"
    where = f"{first_test}" if first_test is not None else "their middle"
    return (
        f"{history} leave {start} bars before {where} and {len(timestamps) - start} after, too few for "
        f"{folds} walk-forward folds: {MIN_TRAINING_BARS + horizon + 1} and {folds * (horizon + 2)} are "
        "needed; set training.first_test to a share of the bars, as 0.5, or to a day, or "
        "training.first_test_year or training.folds to fit the data"
    )


def validation_fold(training: range, horizon: int, share: float = 0.3) -> Fold:
    """Split off the last `share` of the training bars as a purged validation part."""
    start = training.start + int(len(training) * (1 - share))
    inner = range(training.start, max(start - horizon - 1, training.start))
    return Fold(train=inner, test=range(start, training.stop))


def _day(timestamps: Timestamps, index: int) -> str:
    return str(timestamps[index].astype("datetime64[D]")) if len(timestamps) else "nowhere"
