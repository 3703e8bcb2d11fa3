"""What selection is made of: the label, the training part, candidates, and each method by itself."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.stats import spearmanr

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import InputError
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from alphaloop.statistics.information_coefficient import information_coefficients
from alphaloop.statistics.newey_west import newey_west_tstat
from features.compute.batch import backfill
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window
from features.feature_set import FeatureSet, default_feature_set, feature_set_of
from features.selection.folds import time_folds
from features.selection.generation import MAX_CORRELATION, generate_candidates
from features.selection.information_coefficient import (
    bar_coefficients,
    coefficient_standard_error,
    mean_coefficient,
    unit_feature_ranks,
)
from features.selection.methods.lasso import lasso
from features.selection.methods.mutual_information import mutual_information
from features.selection.normal_equations import NormalEquations
from features.selection.reports.output_files import write_outputs
from features.selection.scale_invariance import scale_free_formulas
from features.selection.scaling import CLIP_SPREADS, Scaling
from features.selection.selection import select_features
from features.selection.target import forward_returns, relative_forward_returns
from features.selection.training_part import TrainingPart, training_part
from models.labels import forward_returns as labels_of_training


def ohlcv(bars: int = 700, symbols: int = 6, seed: int = 5) -> BarPanel:
    """Daily bars that nothing drives."""
    chance = np.random.default_rng(seed)
    shape = (bars, symbols)
    close = 80 * np.exp(np.cumsum(0.02 * chance.normal(size=shape), axis=0))
    high, low = (close * (1 + sign * np.abs(0.01 * chance.normal(size=shape))) for sign in (1, -1))
    opened = np.clip(close * (1 + 0.005 * chance.normal(size=shape)), low, high)
    days = np.datetime64("2015-01-05T21:00", "ns") + np.arange(bars) * np.timedelta64(86_400, "s")
    return BarPanel(
        timestamps=days.astype("datetime64[ns]"),
        symbols=tuple(f"S{number}" for number in range(symbols)),
        open=opened, high=high, low=low, close=close, volume=np.exp(chance.normal(10, 1, shape)),
        adjustment=np.ones(shape),
    )  # fmt: skip


@pytest.fixture(scope="module")
def bars() -> BarPanel:
    """Two years of six symbols."""
    return ohlcv()


@pytest.fixture(scope="module")
def part(bars: BarPanel) -> TrainingPart:
    """The first 500 bars and a few features."""
    features = FeatureSet(["return_5", "rsi_14", "volatility_21", "rank_return_5", "distance_high_252"])
    return training_part(bars, features, to_datetime(bars.timestamps[499]), 3)


def test_the_label_starts_at_the_obtainable_price(bars: BarPanel) -> None:
    """Row t holds the return from close t + 1 to close t + 1 + h, as training labels do."""
    close = bars.adjusted_close
    assert forward_returns(close, 5)[10, 2] == close[16, 2] / close[11, 2] - 1
    assert np.array_equal(forward_returns(close, 5), labels_of_training(close, 5), equal_nan=True)


def test_the_label_is_beside_the_others(bars: BarPanel) -> None:
    """Labels of a bar sum to nothing; a bar on which only two symbols have one has none."""
    close = bars.adjusted_close.copy()
    close[50, 2:] = np.nan
    labels = relative_forward_returns(close, 4)
    assert np.nansum(labels, axis=1) == pytest.approx(np.zeros(len(close)), abs=1e-12)
    assert np.isnan(labels[49]).all()
    assert np.isnan(labels[45]).all()
    assert np.isfinite(labels[48]).all()


@pytest.mark.parametrize("horizon", [1, 7])
def test_only_matured_labels_count(bars: BarPanel, horizon: int) -> None:
    """The last bar of the training part is the one whose label ends at the split date, and it has one."""
    known = training_part(bars, FeatureSet(["return_1"]), to_datetime(bars.timestamps[400]), horizon)
    assert known.timestamps[-1] == bars.timestamps[400 - horizon - 1]
    assert np.isfinite(known.target[-1]).all()


def test_scaling_knows_the_training_part_alone(bars: BarPanel, part: TrainingPart) -> None:
    """Later bars a thousand times as wild leave centre and spread as they are."""
    wild = bars.close.copy()
    wild[500:] *= np.exp(np.random.default_rng(1).normal(0, 7, wild[500:].shape))
    again = training_part(
        replace(bars, close=wild), part.feature_set, to_datetime(bars.timestamps[499]), part.horizon
    )
    assert np.array_equal(again.scaling.centre, part.scaling.centre)
    assert np.array_equal(again.scaling.spread, part.scaling.spread)
    assert np.array_equal(again.scaled, part.scaled)


def test_scaling_is_by_median_and_deviation() -> None:
    """A normal column is scaled to 1, extremes are held, the unknown is the centre, the constant nothing."""
    draws = np.random.default_rng(2).normal(7, 3, 40_000)
    columns = np.stack([draws, np.full(40_000, 4.0)], axis=1).astype(np.float32)
    scaling = Scaling.fit(columns)
    assert scaling.apply(columns)[:, 0].std() == pytest.approx(1, abs=0.02)
    assert not scaling.apply(columns)[:, 1].any()
    extremes = np.array([[1e30, 4.0], [-np.inf, 4.0], [np.nan, np.nan]], dtype=np.float32)
    assert scaling.apply(extremes)[:, 0].tolist() == [CLIP_SPREADS, 0.0, 0.0]


def test_a_flag_is_scaled_by_its_standard_deviation() -> None:
    """A column that is one value most of the time still varies after scaling."""
    flag = (np.arange(1000) % 10 == 0).astype(np.float32)[:, None]
    scaled = Scaling.fit(flag).apply(flag)
    assert scaled.mean() == pytest.approx(0, abs=1e-6)
    assert scaled.std() == pytest.approx(1, abs=1e-5)


@given(st.integers(40, 900), st.integers(1, 20), st.integers(1, 6))
def test_folds_are_purged_and_in_order(count: int, horizon: int, number: int) -> None:
    """No label of a fold's training reaches into its test, tests follow one another to the last bar."""
    found = time_folds(count, horizon, number)
    assert found[-1].test.stop == count
    for one in found:
        assert one.train.start == 0
        assert len(one.train) == 0 or one.train[-1] + horizon + 1 < one.test.start
    for one, after in pairwise(found):
        assert one.test.stop == after.test.start


def test_coefficients_are_spearmans(part: TrainingPart) -> None:
    """Bar by bar they are SciPy's and those of the model room; the t-statistic is Newey and West's."""
    own = bar_coefficients(part.ranks, unit_feature_ranks(part.target, part.labelled))
    for bar in (60, 300, 450):
        expected = spearmanr(part.values[bar, :, 0], part.target[bar]).statistic
        assert own[bar, 0] == pytest.approx(expected, abs=1e-6)
    theirs = information_coefficients(part.values[..., 0].astype(float), part.target)
    assert np.allclose(own[:, 0], theirs, atol=1e-6, equal_nan=True)
    statistic = mean_coefficient(own) / coefficient_standard_error(own, part.horizon)
    assert statistic[0] == pytest.approx(newey_west_tstat(theirs, part.horizon), rel=1e-4)


def with_label(part: TrainingPart, values: np.ndarray, labels: np.ndarray) -> TrainingPart:
    """A training part of these features `[T, N, F]` and labels `[T, N]`."""
    values = values.astype(np.float32)
    return replace(
        part,
        values=values,
        target=labels,
        scaling=Scaling.fit(values),
        timestamps=part.timestamps[: len(labels)],
    )


def test_mutual_information_sees_what_is_bent(part: TrainingPart) -> None:
    """A label that is the square of a feature shares nats with it, and none with another."""
    values = np.random.default_rng(3).normal(size=(400, 10, 2))
    squared, nothing = mutual_information(with_label(part, values, values[..., 0] ** 2))
    assert squared > 0.3
    assert nothing < 0.002


def test_mutual_information_asks_for_the_side(part: TrainingPart) -> None:
    """A feature that says how far a symbol will be from the others, and not on which side, says nothing."""
    chance = np.random.default_rng(4)
    values = chance.normal(size=(400, 10, 1))
    labels = np.exp(values[..., 0]) * chance.normal(size=(400, 10))
    assert mutual_information(with_label(part, values, labels))[0] < 0.002


def test_a_wild_bar_says_no_more_than_a_calm_one(part: TrainingPart) -> None:
    """Labels a hundred times as large on some bars leave what linear methods and trees are given as it is."""
    wild = part.target.copy()
    wild[100:120] *= 100
    assert np.allclose(replace(part, target=wild).scaled_target, part.scaled_target)
    assert part.scaled_target[100:120].std() == pytest.approx(1, abs=1e-6)


def test_the_lasso_path_is_that_of_descent(part: TrainingPart) -> None:
    """At a penalty the weights read off the path are those of coordinate descent on all rows."""
    from sklearn.linear_model import Lasso

    from features.selection.methods.lasso import _path

    rows, labels = part.rows_between(range(len(part)))
    whole = NormalEquations.of(part, range(len(part)))
    penalty = 0.3 * float(np.abs(whole.projection).max())
    descent = Lasso(alpha=penalty, tol=1e-10, max_iter=100_000).fit(rows.astype(float), labels)
    assert _path(whole, np.array([penalty]))[0] == pytest.approx(descent.coef_, abs=1e-6)
    assert lasso(part).shape == (5,)


def test_units_are_measured_right() -> None:
    """Oscillators stay, averages are put against the close, volumes against volume, sums are left out."""
    found = scale_free_formulas()
    assert found["rsi"] == ("rsi", ("close",))
    assert found["ema"] == ("close / ema - 1", ("close",))
    assert found["atr"] == ("atr / close", ("close", "high", "low"))
    assert found["adosc"] == ("adosc / sma(volume, 20)", ("close", "high", "low", "volume"))
    assert not {"obv", "cumsum", "var", "day_of_week", "sin", "ad"} & set(found)


def scaled_prices(bars: BarPanel, factor: float) -> BarPanel:
    """The same market, quoted in another currency."""
    return replace(
        bars, open=bars.open * factor, high=bars.high * factor, low=bars.low * factor,
        close=bars.close * factor,
    )  # fmt: skip


def test_candidates_are_free_of_scale(bars: BarPanel) -> None:
    """Every candidate says the same of prices sixteen times as high."""
    date = to_datetime(bars.timestamps[599])
    generated = generate_candidates(bars, date, 60, 4).feature_set
    plain, scaled = (backfill(one, generated).values for one in (bars, scaled_prices(bars, 16.0)))
    assert np.isfinite(plain[-1]).any(axis=0).all()
    assert np.allclose(plain, scaled, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_candidates_are_bounded_and_differ(bars: BarPanel) -> None:
    """As many as asked for, no meaning and no name twice, no twins by correlation; every kind is there."""
    date = to_datetime(bars.timestamps[599])
    generated = generate_candidates(bars, date, 60, 4)
    features = generated.feature_set
    assert len(features) == 60 < generated.drawn
    assert len({one.column.key for one in features.features}) == 60 == len(set(features.names))
    assert {"_lag_", "_change_", "_rank", "_times_", "_less_", "_over_", "_at_1w"} <= {
        kind for kind in ("_lag_", "_change_", "_rank", "_times_", "_less_", "_over_", "_at_1w")
        for name in features.names if kind in name
    }  # fmt: skip
    sample = backfill(bars.between(end=date), features).values[200:].reshape(-1, 60).astype(float)
    rows = sample[np.isfinite(sample).all(axis=1)]
    alike = np.abs(np.corrcoef(rows, rowvar=False)) - np.eye(60)
    assert alike.max() < MAX_CORRELATION + 0.04  # unscaled here, and over other rows


def test_the_seed_draws_the_candidates(bars: BarPanel) -> None:
    """The same seed draws the same, another draws others, and bars after the date do not matter."""
    date = to_datetime(bars.timestamps[599])
    first = generate_candidates(bars, date, 12, 4).feature_set
    later = bars.close.copy()
    later[600:] *= 3
    assert generate_candidates(replace(bars, close=later), date, 12, 4).feature_set.hash == first.hash
    assert generate_candidates(bars, date, 12, 5).feature_set.hash != first.hash


def test_close_only_bars_draw_from_closes(real_bars: BarPanel) -> None:
    """Where there is neither high, low nor volume no candidate asks for them."""
    generated = generate_candidates(
        real_bars, to_datetime(real_bars.timestamps[-1]), 25, 1, default_feature_set()
    )
    assert generated.feature_set.names[: len(default_feature_set())] == default_feature_set().names
    assert {name for one in generated.feature_set.features for name in one.inputs} == {"close"}
    with pytest.raises(InputError, match="candidates is 0"):
        generate_candidates(real_bars, datetime(2019, 1, 1, tzinfo=UTC), 0, 1)


def _last(values: np.ndarray) -> np.ndarray:
    return values[..., -1] / values[..., 0] - 1


@indicator(inputs=("close",), group="own")
def own_return(length: int = 4) -> Operator:
    """A return of one's own."""
    return Window(_last, length)


def test_own_indicators_and_formulas_are_candidates(bars: BarPanel, tmp_path: Path) -> None:
    """A set with indicators and formulas of one's own goes through generation and choice to settings."""
    own = FeatureSet(["mine = rank(doubled)"], {"doubled": "2 * own_return(6)"}, [own_return])
    date = to_datetime(bars.timestamps[599])
    selected = select_features(bars, generate_candidates(bars, date, 8, 1, own), date, 2, 8, ("information",))
    assert "mine" in selected.candidates.names
    assert selected.feature_set == own.having(
        [f"{one.name} = {one.formula}" for one in selected.feature_set.features]
    )


def test_the_outcome_is_written(bars: BarPanel, tmp_path: Path) -> None:
    """Settings that give the set with its hash, the table twice, and a page that asks for nothing more."""
    date = to_datetime(bars.timestamps[599])
    selected = select_features(
        bars,
        generate_candidates(bars, date, 14, 2, default_feature_set()),
        date,
        2,
        5,
        ("information", "elimination", "genetic"),
    )
    paths = {path.name: path for path in write_outputs(selected, tmp_path / "made" / "here")}
    chosen = tomllib.loads(paths["features.toml"].read_text())["features"]
    assert feature_set_of(Settings(features=FeatureSettings(**chosen))).hash == selected.feature_set.hash
    assert parquet.read_table(paths["ranking.parquet"]).equals(selected.table)
    assert len(paths["ranking.csv"].read_text().splitlines()) == len(selected.candidates) + 1
    html = paths["report.html"].read_text()
    assert "no skill" in html
    assert "never used" in html
    assert all(name in html for name in selected.feature_set.names)
    assert "http" not in html.replace("http://www.w3.org", "")
    assert ">+nan" not in html


def test_a_folder_that_cannot_be_written_is_refused(bars: BarPanel, tmp_path: Path) -> None:
    """A file where the folder should be is one line, and no half of an outcome is left."""
    (tmp_path / "taken").write_text("")
    date = to_datetime(bars.timestamps[599])
    selected = select_features(bars, ["return_1", "rsi_14"], date, 2, 2, ("information",))
    with pytest.raises(InputError, match="cannot be written"):
        write_outputs(selected, tmp_path / "taken")
