"""Labels, splits and samples: nothing is learned from what was not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import to_datetime
from alphaloop.errors import DataError, InputError
from alphaloop.settings.settings import Settings
from alphaloop.settings.training import TrainingSettings
from models.dataset import complete_panels, make_dataset
from models.evaluation import splits
from models.evaluation.walk_forward import EvaluationPolicy
from models.labels import cross_sectional_z_scores, first_unseen_bar, forward_returns
from models.training.leakage_drill import leak_features


def test_a_label_starts_at_the_first_price_that_can_be_traded() -> None:
    """The label of bar t runs from close t+1 to close t+1+h, and is unknown for the last h+1 bars."""
    close = np.array([[10.0], [20.0], [50.0], [70.0], [130.0]])
    labels = forward_returns(close, 2)
    # From the signal's own close they would be 50 / 10 - 1 and 70 / 20 - 1.
    np.testing.assert_allclose(labels[:2, 0], [70 / 20 - 1, 130 / 50 - 1])
    assert np.isnan(labels[2:]).all()
    assert np.isnan(forward_returns(close, 10)).all()
    with pytest.raises(InputError, match="horizon is 0"):
        forward_returns(close, 0)


def test_z_scores_compare_the_symbols_of_a_bar() -> None:
    """Each bar's labels get mean 0 and deviation 1 among those known; a flat bar gets zeros."""
    scores = cross_sectional_z_scores(np.array([[1.0, 2.0, 3.0, np.nan], [5.0, 5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(scores[0, :3], [-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert np.isnan(scores[0, 3])
    np.testing.assert_array_equal(scores[1], 0)


def test_each_bar_has_its_own_mean_and_deviation() -> None:
    """A bar of labels ten times as large has the same z-scores, and a bar of one label is flat."""
    labels = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [7.0, np.nan, np.nan]])
    scores = cross_sectional_z_scores(labels)
    np.testing.assert_allclose(scores[:2], [[-np.sqrt(1.5), 0, np.sqrt(1.5)]] * 2)
    np.testing.assert_array_equal(scores[2], [0, np.nan, np.nan])


@settings(max_examples=60, deadline=None)
@given(
    bars=st.integers(700, 1_500),
    folds=st.integers(2, 6),
    horizon=st.integers(1, 21),
)
def test_no_training_label_reaches_into_the_test(bars: int, folds: int, horizon: int) -> None:
    """Tests follow each other without gap, and the last training label ends before its test begins."""
    timestamps = np.datetime64("2015-01-01", "ns") + np.arange(bars) * np.timedelta64(1, "D")
    found = splits.walk_forward_folds(timestamps, 2016, folds, horizon)
    assert len(found) == folds
    assert found[0].test.start == 365 and found[-1].test.stop == bars
    for fold, following in pairwise(found):
        assert fold.test.stop == following.test.start
    for fold in found:
        last_label_ends = fold.train[-1] + 1 + horizon
        assert last_label_ends == fold.test.start - 1
    inner = splits.validation_fold(found[0].train, horizon)
    assert inner.train[-1] + 1 + horizon < inner.test.start
    assert inner.test[-1] == found[0].train[-1]


def test_labels_of_a_training_part_do_not_change_with_the_test(market: Any) -> None:
    """Prices of the test part may be anything: what is learned before it stays the same."""
    close = market.bars.adjusted_close
    fold = splits.walk_forward_folds(market.frame.timestamps, 2017, 2, 5)[1]
    other = close.copy()
    other[fold.test.start :] *= np.linspace(1, 9, len(fold.test))[:, None]
    for original, changed in zip(
        make_dataset(market.frame, close, 5, fold.train).samples(1),
        make_dataset(market.frame, other, 5, fold.train).samples(1),
        strict=True,
    ):
        np.testing.assert_array_equal(original, changed)


@pytest.mark.parametrize(("year", "folds"), [(2015, 2), (2031, 2), (2017, 400)])
def test_bars_that_do_not_fit_the_folds_are_refused(market: Any, year: int, folds: int) -> None:
    """Too little before the first test, or in each test, is one line that names the settings."""
    with pytest.raises(DataError, match=r"training\.first_test_year or training\.folds"):
        splits.walk_forward_folds(market.frame.timestamps, year, folds, 5)
    with pytest.raises(DataError):
        splits.walk_forward_folds(market.frame.timestamps[:0], year, folds, 5)


@pytest.mark.parametrize("lookback", [1, 4])
def test_samples_are_complete_windows_that_end_at_their_bar(market: Any, lookback: int) -> None:
    """Every sample is the window of the frame at its bar and symbol, without NaN, its label known."""
    dataset = make_dataset(market.frame, market.bars.adjusted_close, 5)
    inputs, targets, bars, symbols = dataset.samples(lookback)
    assert inputs.dtype == np.float32 and targets.dtype == np.float32
    assert np.isfinite(inputs).all() and np.isfinite(targets).all()
    assert bars.min() == 20 + lookback - 1 and bars.max() == len(market.frame.timestamps) - 7
    for sample in (0, len(inputs) // 2, -1):
        window = market.frame.window(int(bars[sample]), lookback)[symbols[sample]]
        np.testing.assert_array_equal(inputs[sample], window)
    thinned = dataset.samples(lookback, every=5)[2]
    assert set(np.diff(np.unique(thinned))) == {5}


def test_a_symbol_with_a_hole_loses_only_the_windows_that_see_it(market: Any) -> None:
    """One missing value takes out one symbol for `lookback` bars and nobody else."""
    values = market.frame.values.copy()
    values[100, 3, 1] = np.nan
    frame = replace(market.frame, values=values)
    whole = make_dataset(market.frame, market.bars.adjusted_close, 5).samples(4)
    holed = make_dataset(frame, market.bars.adjusted_close, 5).samples(4)
    lost = set(zip(whole[2], whole[3], strict=True)) - set(zip(holed[2], holed[3], strict=True))
    assert lost == {(bar, 3) for bar in range(100, 104)}
    panels = complete_panels(frame, 4, 10_000)
    assert sorted({len(panel) for panel in panels}) == [11, 12]


def test_a_dataset_refuses_what_does_not_fit(market: Any) -> None:
    """Labels of another shape, rows outside the bars and rows without anything to learn are refused."""
    close = market.bars.adjusted_close
    with pytest.raises(ValueError, match="do not match"):
        make_dataset(market.frame, close[:-1], 5)
    with pytest.raises(ValueError, match="outside"):
        make_dataset(market.frame, close, 5, range(0, 10_000))
    with pytest.raises(DataError, match="give more history"):
        make_dataset(market.frame, close, 5, range(0, 15)).samples(1)


def test_the_leak_drill_shows_the_future_and_nothing_else(market: Any) -> None:
    """A leak of k bars puts the features of bar t+k at bar t, and none in the last k."""
    frame = leak_features(market.frame, 3)
    np.testing.assert_array_equal(frame.values[:-3], market.frame.values[3:])
    assert np.isnan(frame.values[-3:]).all()
    assert leak_features(market.frame, 0) is market.frame
    with pytest.raises(ValueError, match="past"):
        leak_features(market.frame, -1)


@pytest.mark.parametrize("horizon", [1, 5, 21])
def test_out_of_sample_begins_after_the_last_label(market: Any, horizon: int) -> None:
    """The first unseen bar comes after the last price in the label of the last bar that was learned."""
    timestamps = market.frame.timestamps
    close = np.arange(1.0, len(timestamps) + 1)[:, None]
    last = 500
    label = forward_returns(close, horizon)[last, 0]
    first = first_unseen_bar(timestamps, to_datetime(timestamps[last]), horizon)
    # Closes count up from one, so that the label tells where it begins and ends.
    ends = next(at for at in range(last, 600) if label == close[at, 0] / close[last + 1, 0] - 1)
    assert first == ends + 1 == last + horizon + 2


def hourly(count: int) -> np.ndarray:
    """`count` hourly timestamps of 2023."""
    return np.datetime64("2023-01-02T00", "ns") + np.arange(count) * np.timedelta64(1, "h")


@pytest.mark.parametrize(
    ("first_test", "start"),
    [("0.5", 4_000), ("0.25", 2_000), ("2023-07-01", 4_320), (None, 4_000)],
)
def test_one_year_of_intraday_bars_can_be_split(first_test: str | None, start: int) -> None:
    """Tests start at a share of the bars or on a day; without either in the middle, as 2010 is not there."""
    folds = splits.walk_forward_folds(hourly(8_000), first_test, 4, 5)
    assert folds[0].test.start == start and folds[-1].test.stop == 8_000
    assert folds[0].train == range(start - 6)


def test_a_year_still_means_its_first_of_january(market: Any) -> None:
    """A calendar year starts the tests on its first bar; by default it is 2010, if the bars reach so far."""
    days = np.datetime64("2007-01-01", "ns") + np.arange(2_000) * np.timedelta64(1, "D")
    assert splits.walk_forward_folds(days, 2009, 4, 5)[0].test.start == 731
    assert splits.walk_forward_folds(days, None, 4, 5)[0].test.start == 1_096
    with pytest.raises(DataError, match=r"8000 bars .* leave 0 bars before 2010 and 8000 after.*first_test"):
        splits.walk_forward_folds(hourly(8_000), 2010, 4, 5)


def test_the_settings_say_where_tests_start() -> None:
    """A share, a day or a year; the first two go before the year, and what is neither is refused."""
    timestamps = hourly(8_000)

    def start(**changes: Any) -> int:
        chosen = Settings(training=TrainingSettings(**changes))
        return (
            EvaluationPolicy.from_settings(chosen, AllocationStrategy())
            .walk_forward(timestamps)[0]
            .test.start
        )

    assert start(first_test=0.3) == start(first_test="0.3", first_test_year=2010) == 2_400
    assert start(first_test=date(2023, 7, 1)) == 4_320
    assert start() == 4_000
    for wrong in ("half", "1.5", "0", "2023-13-01"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no share"):
            TrainingSettings(first_test=wrong)
