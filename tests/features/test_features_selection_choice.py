"""Selection on universes whose truth is known: what is planted is found, and noise is called noise."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError, InputError
from features.feature_set import FeatureSet
from features.selection.clustering import cluster_features
from features.selection.methods.genetic import SearchBudget, genetic
from features.selection.methods.method import METHODS
from features.selection.null_distribution import expected_maximum, null_distribution
from features.selection.reports.summary import summary_text
from features.selection.selection import SelectionResult, select_features
from features.selection.stability import measure_stability
from features.selection.training_part import TrainingPart, training_part
from marketdata.source import close_only_panel

BARS, SYMBOLS, SPLIT, HORIZON = 680, 12, 560, 1
NOISE = tuple(f"noise_{number:02d}" for number in range(10))
CANDIDATES = ("first = data.first", "second = data.second", "copy = data.copy + 0",
              "turning = data.turning", *(f"{name} = data.{name}" for name in NOISE))  # fmt: skip


def universe(strength: float, seed: int = 1) -> BarPanel:
    """Closes that `first` (up) and `second` (down) drive, two bars before; `turning` flips half-way.

    `copy` is `first` and a little noise; the other columns are noise alone.
    """
    chance = np.random.default_rng(seed)
    shape = (BARS, SYMBOLS)
    extra = {name: chance.normal(size=shape) for name in ("first", "second", "turning", *NOISE)}
    extra["copy"] = extra["first"] + 0.2 * chance.normal(size=shape)
    signs = np.where(np.arange(BARS) < SPLIT // 2, 1.0, -1.0)[:, None]
    pull = strength * (extra["first"] - extra["second"] + signs * extra["turning"])
    returns = 0.01 * chance.normal(size=shape)
    # A signal at close t is filled at close t + 1: the bar that it may foretell is t + 2.
    returns[2:] += 0.01 * pull[:-2]
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    days = np.datetime64("2015-01-05T21:00", "ns") + np.arange(BARS) * np.timedelta64(86_400, "s")
    symbols = tuple(f"S{number:02d}" for number in range(SYMBOLS))
    return replace(close_only_panel(days.astype("datetime64[ns]"), symbols, close), extra=extra)


def until(bars: BarPanel) -> datetime:
    """The split date."""
    return to_datetime(bars.timestamps[SPLIT - 1])


@pytest.fixture(scope="module")
def planted() -> BarPanel:
    """Two features drive returns; a third does until half-way, and then its opposite."""
    return universe(0.3)


@pytest.fixture(scope="module")
def blind() -> BarPanel:
    """Nothing drives returns."""
    return universe(0.0)


@pytest.fixture(scope="module")
def part(planted: BarPanel) -> TrainingPart:
    """What is known of the planted universe at the split date."""
    return training_part(planted, FeatureSet(CANDIDATES), until(planted), HORIZON)


@pytest.fixture(scope="module")
def selected(planted: BarPanel) -> SelectionResult:
    """A selection by all methods."""
    return select_features(planted, CANDIDATES, until(planted), HORIZON, 4, seed=3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_what_is_planted(part: TrainingPart, method: str) -> None:
    """Each method ranks both features that drive returns above all that are noise."""
    scores = dict(zip(part.names, METHODS[method].score(part, 3), strict=True))
    assert scores["second"] > max(scores[name] for name in NOISE)
    # Of a feature and its copy a method may take either; one of them is above the noise.
    assert max(scores["first"], scores["copy"]) > max(scores[name] for name in NOISE)


def test_the_choice_holds_what_is_planted_once(selected: SelectionResult) -> None:
    """Both drivers head the set, the copy of one of them is not in it, and the t-statistics say why."""
    first, second = selected.feature_set.names[:2]
    assert {first, second} in ({"first", "second"}, {"copy", "second"})
    assert not {"first", "copy"} <= set(selected.feature_set.names)
    rows = {row["feature"]: row for row in selected.table.to_pylist()}
    assert rows[first]["t_statistic"] * rows[second]["t_statistic"] < -25
    assert selected.table["rank"].to_pylist() == list(range(1, len(CANDIDATES) + 1))


def test_a_copy_is_in_its_cluster(part: TrainingPart) -> None:
    """A feature and its noisy copy are one cluster, all others stand alone, and each has its medoid."""
    found = cluster_features(part)
    of = dict(zip(part.names, found.of.tolist(), strict=True))
    assert of["first"] == of["copy"]
    assert len(found) == len(CANDIDATES) - 1 == len(set(found.of.tolist()))
    assert [of[part.names[one]] for one in found.medoids] == list(range(len(found)))
    assert sorted(found.order.tolist()) == list(range(len(CANDIDATES)))


def test_what_flips_its_sign_is_flagged_and_not_chosen(part: TrainingPart, selected: SelectionResult) -> None:
    """The feature that turns half-way is flagged, none that keeps its sign is, and it is not in the set."""
    found = measure_stability(part)
    flagged = {name for name, flips in zip(part.names, found.flips, strict=True) if flips}
    assert flagged == {"turning"}
    assert "turning" not in selected.feature_set.names
    agreement = dict(zip(part.names, found.agreement, strict=True))
    assert agreement["second"] == 1.0 > agreement["turning"]


def test_a_planted_signal_is_beyond_chance(selected: SelectionResult) -> None:
    """The best candidate is far above what the best of as many blind ones reaches, before and after."""
    assert selected.chance.beyond
    assert selected.chance.best > 3 * selected.chance.expected
    assert selected.held_out is not None
    assert selected.held_out.best > 2 * selected.held_out.expected
    assert "more than chance" in summary_text(selected)


def test_noise_is_no_more_than_chance(blind: BarPanel) -> None:
    """Where nothing drives returns the best found is about what chance gives, and the verdict says so."""
    found = select_features(blind, CANDIDATES, until(blind), HORIZON, 4, ("information", "lasso"), 3)
    assert not found.chance.beyond
    assert 0.5 < found.chance.best / found.chance.expected < 1.5
    assert found.chance.shifted == pytest.approx(found.chance.expected, rel=0.3)
    assert "not above what chance gives" in summary_text(found)


def test_chance_is_beaten_by_noise_as_seldom_as_it_says() -> None:
    """Of twenty blind universes at most three are taken for more than chance, at a level of one in twenty."""
    beyond = 0
    for seed in range(20):
        bars = universe(0.0, seed + 100)
        features = FeatureSet([f"{name} = data.{name}" for name in NOISE])
        beyond += null_distribution(
            training_part(bars, features, until(bars), HORIZON), len(NOISE), seed
        ).beyond
    assert beyond <= 3


def test_the_expected_maximum_is_that_of_normal_draws() -> None:
    """One draw has a mean size of sqrt(2 / pi); of many, what simulation gives."""
    assert expected_maximum(1) == pytest.approx(np.sqrt(2 / np.pi), abs=1e-4)
    draws = np.abs(np.random.default_rng(0).normal(size=(4000, 120))).max(axis=1)
    assert expected_maximum(120) == pytest.approx(draws.mean(), abs=0.02)


def disturbed(bars: BarPanel) -> BarPanel:
    """The same bars up to the split date, and others after it."""
    chance = np.random.default_rng(9)
    close = bars.close.copy()
    close[SPLIT:] *= np.exp(chance.normal(size=close[SPLIT:].shape))
    extra = {name: values.copy() for name, values in bars.extra.items()}
    for values in extra.values():
        values[SPLIT:] = chance.normal(5.0, 40.0, values[SPLIT:].shape)
    return replace(bars, close=close, extra=extra)


def test_nothing_after_the_date_is_seen(planted: BarPanel, selected: SelectionResult) -> None:
    """With every bar after the split date another one, or none at all, set and table keep every bit."""
    for other in (disturbed(planted), planted.between(end=until(planted))):
        again = select_features(other, CANDIDATES, until(planted), HORIZON, 4, seed=3)
        assert again.feature_set.hash == selected.feature_set.hash
        assert again.table.equals(selected.table)
        assert again.chance == selected.chance
        assert np.array_equal(again.stability.blocks, selected.stability.blocks)
    assert again.held_out is None


def test_a_bar_before_the_date_is_seen(planted: BarPanel, selected: SelectionResult) -> None:
    """The last bar whose label counts changes the table: the test above looks where something could be."""
    close = planted.close.copy()
    close[SPLIT - 1, 0] *= 1.05
    again = select_features(replace(planted, close=close), CANDIDATES, until(planted), HORIZON, 4, seed=3)
    assert not again.table.equals(selected.table)


def test_the_seed_decides(planted: BarPanel, part: TrainingPart, selected: SelectionResult) -> None:
    """The same seed gives the same table; another shuffles and searches otherwise."""
    again = select_features(planted, CANDIDATES, until(planted), HORIZON, 4, seed=3)
    assert again.table.equals(selected.table)
    for method in ("permutation", "genetic"):
        scores = METHODS[method].score
        assert not np.array_equal(scores(part, 3), scores(part, 4))


def test_the_search_keeps_to_its_budget(part: TrainingPart, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more sets are fitted than generations times population, on four folds each."""
    from features.selection.normal_equations import NormalEquations

    fitted = []
    ridge = NormalEquations.ridge
    monkeypatch.setattr(
        NormalEquations, "ridge", lambda self, places: fitted.append(len(places)) or ridge(self, places)
    )
    genetic(part, 1, SearchBudget(population=12, generations=5, size=3, elite=4))
    assert 12 * 4 <= len(fitted) <= 12 * 5 * 4
    assert max(fitted) <= 3


def test_the_set_goes_into_settings(selected: SelectionResult) -> None:
    """Features as texts give the same set again, hash and all."""
    assert FeatureSet(selected.feature_set.texts).hash == selected.feature_set.hash


def test_an_indicator_that_is_called_like_a_function_goes_into_settings_too() -> None:
    """`exp`, `floor` and others are words of formulas: their text is the name alone."""
    chosen = FeatureSet(("exp", "floor", "rsi(5)", "mine = close / sma(5)"))
    assert chosen.texts == ("exp", "floor", "rsi_5 = rsi(5)", "mine = close / sma(5)")
    assert FeatureSet(chosen.texts).hash == chosen.hash


def test_what_cannot_be_chosen_from_is_refused(planted: BarPanel) -> None:
    """A count, a method, a date or a universe that does not suffice is named in one line."""
    date = until(planted)
    with pytest.raises(InputError, match="count is 0"):
        select_features(planted, CANDIDATES, date, HORIZON, 0)
    with pytest.raises(InputError, match="unknown method 'magic'"):
        select_features(planted, CANDIDATES, date, HORIZON, 4, ("magic",))
    with pytest.raises(InputError, match="names one twice"):
        select_features(planted, CANDIDATES, date, HORIZON, 4, ("lasso", "lasso"))
    with pytest.raises(InputError, match="horizon is 0"):
        select_features(planted, CANDIDATES, date, 0)
    with pytest.raises(DataError, match="selection needs 120"):
        select_features(planted, CANDIDATES, to_datetime(planted.timestamps[100]), HORIZON)
    with pytest.raises(DataError, match="at least 3 are needed"):
        select_features(planted.select(planted.symbols[:2]), CANDIDATES, date, HORIZON)
    with pytest.raises(DataError, match="can be chosen"):
        select_features(planted, ("same = median(data.first)",), date, HORIZON)


@pytest.mark.long
def test_the_default_run_takes_about_a_minute() -> None:
    """On 20 symbols, 2,000 bars and 120 generated candidates all methods take under a minute of one core."""
    import time

    from features.selection.generation import generate_candidates

    chance = np.random.default_rng(1)
    shape = (2_000, 20)
    close = 50 * np.exp(np.cumsum(0.02 * chance.normal(size=shape), axis=0))
    high, low = (close * (1 + sign * np.abs(0.01 * chance.normal(size=shape))) for sign in (1, -1))
    days = np.datetime64("2010-01-04T21:00", "ns") + np.arange(len(close)) * np.timedelta64(86_400, "s")
    bars = BarPanel(
        timestamps=days.astype("datetime64[ns]"),
        symbols=tuple(f"S{number:02d}" for number in range(shape[1])),
        open=close, high=high, low=low, close=close, volume=np.exp(chance.normal(10, 1, shape)),
        adjustment=np.ones(shape),
    )  # fmt: skip
    date = to_datetime(bars.timestamps[-200])
    started = time.process_time()
    found = select_features(bars, generate_candidates(bars, date, 120, 7), date)
    assert time.process_time() - started < 60
    assert len(found.candidates) == 120
    assert not found.chance.beyond


@pytest.mark.long
def test_chance_is_beaten_by_noise_as_seldom_as_it_says_over_many_universes() -> None:
    """Of 300 blind universes between one and nine in a hundred are taken for more than chance."""
    beyond = 0
    for seed in range(300):
        bars = universe(0.0, seed + 1_000)
        features = FeatureSet([f"{name} = data.{name}" for name in NOISE])
        beyond += null_distribution(
            training_part(bars, features, until(bars), HORIZON), len(NOISE), seed
        ).beyond
    assert 3 <= beyond <= 27
