"""Splits of time: the gap before a test is exact, and too few bars are told with what is needed."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloop.errors import DataError
from alphaloop.statistics.purged_folds import purged_training_bars
from models.evaluation import splits


def test_the_validation_part_is_purged_to_the_bar_whatever_the_training_begins_with() -> None:
    """Of bars 100 to 199 the last 30 validate, and 6 before them are left out: 5 of labels and the entry."""
    fold = splits.validation_fold(range(100, 200), horizon=5, share=0.3)
    assert (fold.train, fold.test) == (range(100, 164), range(170, 200))
    assert splits.validation_fold(range(100, 106), horizon=5, share=0.5).train == range(100, 100)


def test_before_the_first_labels_there_is_nothing_to_train_on() -> None:
    """The training part is empty, and not negative, where a test begins within the first horizon."""
    assert purged_training_bars(3, horizon=5) == range(0, 0)
    assert purged_training_bars(6, horizon=5) == range(0, 0)
    assert purged_training_bars(7, horizon=5) == range(0, 1)


@pytest.mark.parametrize(("first_test", "where", "before"), [(2021, "2021", 20), (None, "their middle", 50)])
def test_too_few_bars_are_told_with_their_days_and_what_is_needed(
    first_test: int | None, where: str, before: int
) -> None:
    """The error names the days that the bars span, the counts on either side, and the settings to change."""
    days = np.datetime64("2020-12-12", "ns") + np.arange(100) * np.timedelta64(1, "D")
    with pytest.raises(DataError) as caught:
        splits.walk_forward_folds(days, first_test, folds=4, horizon=5)
    assert str(caught.value) == (
        f"100 bars from 2020-12-12 to 2021-03-21 leave {before} bars before {where} and {100 - before} "
        "after, too few for 4 walk-forward folds: 66 and 28 are needed; set training.first_test to a share "
        "of the bars, as 0.5, or to a day, or training.first_test_year or training.folds to fit the data"
    )
    with pytest.raises(DataError, match=r"^0 bars from nowhere to nowhere leave 0 bars before 2021"):
        splits.walk_forward_folds(days[:0], 2021, folds=4, horizon=5)
