"""Training: one call from bars to a registered version, refusals and drills included."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import models.zoo
from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.decision.strategy import StrategyIdentity
from alphaloop.errors import DataError, InputError, UnknownNameError
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from alphaloop.settings.training import TrainingSettings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import DEFAULT
from marketdata.sources import registry as sources
from models.evaluation.look_ahead import check_look_ahead
from models.onnx.export import open_session, run_session
from models.registry.card import Card
from models.registry.model_registry import Registry
from models.training.code_revision import code_revision
from models.training.train import TrainedModel, train
from models.training.training_run import TrainingRun
from models.zoo import registry as families

CLOCK = ReplayClock(datetime(2019, 1, 2, 21, tzinfo=UTC))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("training") / "registry")


def trained_on(
    bars: BarPanel,
    frame: FeatureFrame,
    registry: Registry,
    settings: Settings,
    family: str,
    model: str,
    **changes: Any,
) -> TrainedModel:
    """Train without tuning, for the built-in strategy, but for `changes` of the run or the clock."""
    clock, progress = changes.pop("clock", CLOCK), changes.pop("on_progress", None)
    options = {"trials": 0, "strategy": AllocationStrategy(), "snapshot": "snapshot", **changes}
    run = TrainingRun(model=model, family=family, bars=bars, frame=frame, **options)
    return train(run, registry, settings, clock, progress)


def learn(market: Any, registry: Registry, family: str = "lightgbm", **changes: Any) -> TrainedModel:
    if family == "lightgbm":
        changes.setdefault("parameters", {"minimum_leaf": 50, "trees": 60})
    return trained_on(market.bars, market.frame, registry, market.settings, family, "small", **changes)


def test_a_trained_model_is_registered_with_all_that_is_known(market: Any, registry: Registry) -> None:
    """The version's card holds origin, figures, folds and verdict, and its file gives scores."""
    told: list[str] = []
    trained = learn(market, registry, pipeline_run="run-1", on_progress=told.append)
    card = registry.card("small", trained.version)
    assert card.to_json() == trained.card.to_json()
    assert card.strategy == StrategyIdentity.of(AllocationStrategy()).to_body()
    assert card.gate["passed"] is (not card.gate["reasons"])
    assert card.fidelity["passed"] and card.fidelity["hard_rows"] > 0
    assert (card.family, card.lookback, card.horizon, card.inputs) == ("lightgbm", 1, 5, ("panel",))
    assert (card.snapshot, card.pipeline_run, card.model) == ("snapshot", "run-1", "small")
    assert card.features == market.frame.names and card.feature_set == market.frame.feature_set
    assert card.created_at == "2019-01-02T21:00:00+00:00"
    assert card.train_first < card.walk_forward[0]["train_last"] < card.train_last
    assert len(card.walk_forward) == 2 and card.metric("ic") == pytest.approx(trained.evaluation.ic)
    assert card.code_revision == code_revision() != "unknown"
    panel = market.frame.window(500, 1)
    assert run_session(open_session(registry.onnx("small", trained.version)), panel).shape == (12,)
    assert told[0].startswith("walk-forward fold 1 of 2") and told[-1] == "registering"


def test_the_same_training_gives_the_same_file(market: Any, registry: Registry) -> None:
    """Seed, bars and parameters decide the digest and every figure."""
    first, second = learn(market, registry), learn(market, registry)
    assert first.card.to_json() == second.card.to_json()
    assert first.version != second.version


def test_a_refused_model_is_kept_with_its_refusal(market: Any, registry: Registry) -> None:
    """It is registered, its reasons on the card, and no alias points to it."""
    unbeatable = replace(learn(market, registry).card, metrics={"active_ir_net": 99.0})
    refused = learn(market, registry, champion=unbeatable)
    assert not registry.card("small", refused.version).passed
    assert "not above the champion's 99.00" in "; ".join(refused.card.gate["reasons"])
    assert registry.rollout("small") is None


def test_what_does_not_fit_is_refused_before_anything_is_written(market: Any, tmp_path: Path) -> None:
    """Unknown family or parameter, other bars and too short a window each get one clear line."""
    registry = Registry(tmp_path / "registry")
    with pytest.raises(UnknownNameError, match=r"unknown model family 'lightgmb'.*lightgbm, momentum"):
        learn(market, registry, "lightgmb")
    with pytest.raises(UnknownNameError, match=r"unknown parameter 'depth'.*minimum_leaf"):
        learn(market, registry, parameters={"depth": 3})
    fewer = SimpleNamespace(bars=market.bars.between(), frame=market.frame, settings=market.settings)
    fewer.frame = replace(
        market.frame, timestamps=market.frame.timestamps[1:], values=market.frame.values[1:]
    )
    with pytest.raises(DataError, match="not of the same timestamps"):
        learn(fewer, registry)
    narrow = market.settings.model_copy(update={"features": FeatureSettings(window=8)})
    short = SimpleNamespace(bars=market.bars, frame=market.frame, settings=narrow)
    with pytest.raises(InputError, match=r"looks back 16 rows, but features\.window keeps 8"):
        learn(short, registry, "transformer")
    other = replace(market.frame, names=("a", "b", "c", "d", "e", "f"))
    nameless = SimpleNamespace(bars=market.bars, frame=other, settings=market.settings)
    with pytest.raises(UnknownNameError, match="unknown feature 'momentum_252_21'"):
        learn(nameless, registry, "momentum")
    assert not registry.folder.exists()


def of_2023(market: Any, **training: Any) -> Any:
    """The made-up market as hourly bars of a year that no calendar year splits."""
    hours = np.datetime64("2023-01-02T00", "ns") + np.arange(900) * np.timedelta64(9, "h")
    return SimpleNamespace(
        bars=replace(market.bars, timestamps=hours),
        frame=replace(market.frame, timestamps=hours),
        settings=market.settings.model_copy(update={"training": TrainingSettings(folds=2, **training)}),
    )


def test_one_year_of_intraday_bars_can_be_trained(market: Any, registry: Registry) -> None:
    """Without a setting the folds start in the middle of such bars, with one at a share of them or a day."""
    for training, first in (
        ({}, "2023-06-19T18:00:00+00:00"),
        ({"first_test": "0.75"}, "2023-09-12T03:00:00+00:00"),
        ({"first_test": "2023-10-01"}, "2023-10-01T06:00:00+00:00"),
    ):
        card = learn(of_2023(market, **training), registry, "momentum").card
        assert card.walk_forward[0]["test_first"] == first
        assert card.walk_forward[-1]["test_last"] == "2023-12-05T03:00:00+00:00"
    with pytest.raises(DataError, match=r"450 after|900 after, too few .* set training\.first_test "):
        learn(of_2023(market, first_test_year=2010), registry, "momentum")


def test_the_baseline_takes_the_momentum_of_its_own_bars(market: Any, registry: Registry) -> None:
    """Where the set has a feature of twelve months and one for its bars, that is the baseline's score."""
    names = tuple("momentum_12_1" if name == "noise_4" else name for name in market.frame.names)
    own = SimpleNamespace(
        bars=market.bars, frame=replace(market.frame, names=names), settings=market.settings
    )
    trained = learn(own, registry, "momentum")
    panel = market.frame.window(500, 1)
    scores = run_session(open_session(registry.onnx("small", trained.version)), panel)
    np.testing.assert_array_equal(scores, panel[:, 0, names.index("momentum_12_1")])


@pytest.fixture(scope="module")
def stocks() -> tuple[BarPanel, FeatureFrame]:
    """The embedded stocks of 2004 to 2018, with their real features."""
    source = sources.find_source("sp500-20")
    start, end = datetime(2004, 1, 1, tzinfo=UTC), datetime(2018, 12, 31, 23, tzinfo=UTC)
    bars = BarPanel.from_table(source.history(source.symbols(), start, end))
    return bars, backfill(bars, DEFAULT)


def on_stocks(stocks: tuple[BarPanel, FeatureFrame], folder: Path, **changes: Any) -> Card:
    bars, frame = stocks
    settings = Settings(home=folder, training=TrainingSettings(first_test_year=2012, folds=2))
    registry = Registry(folder / "registry")
    changes = {"parameters": {"trees": 40}, **changes}
    return trained_on(bars, frame, registry, settings, "lightgbm", "equities", **changes).card


def test_a_leak_makes_a_splendid_card_that_the_gate_refuses(
    stocks: tuple[BarPanel, FeatureFrame], tmp_path: Path
) -> None:
    """Trained and judged on features from the future a model looks too good, and for that is refused."""
    card = on_stocks(stocks, tmp_path, leak=6)
    assert card.metric("ic") > 0.15 and card.metric("active_ir_net") > 1
    assert card.fidelity["passed"], "a leaked model's file is faithful: that is what makes it dangerous"
    assert not card.passed
    too_good, proven = card.gate["reasons"]
    assert too_good.startswith("ic ") and "suspected leakage" in too_good
    assert proven.startswith("look-ahead: 24 of 24 features change when the bars after 20")
    assert len(card.gate["findings"]) == 1 and "proof" not in card.gate


def test_an_honest_model_on_real_prices_is_not_suspected(
    stocks: tuple[BarPanel, FeatureFrame], tmp_path: Path
) -> None:
    """Without the leak the same training shows what daily prices can give, which is little."""
    card = on_stocks(stocks, tmp_path)
    assert abs(card.metric("ic")) < 0.06 and card.metric("active_ir_net") < 1
    assert not any("leakage" in reason for reason in card.gate["reasons"])
    assert 0 < card.metric("ic_pvalue") <= 1 and "findings" not in card.gate


def test_a_look_ahead_check_tells_honest_features_from_leaked_ones(
    stocks: tuple[BarPanel, FeatureFrame], tmp_path: Path
) -> None:
    """Honest features do not change without later bars, one that peeks does, and others cannot be told."""
    bars, frame = stocks
    settings, tested = Settings(home=tmp_path), range(2_000, len(bars))
    honest = check_look_ahead(bars, frame, settings, tested)
    assert honest is not None and honest.passed and len(honest.days) == 4
    assert honest.words.startswith("look-ahead check: none of 24 features changes when the bars after 20")
    values = frame.values.copy()
    values[:-1, :, 3] = frame.values[1:, :, 3]
    peeking = check_look_ahead(bars, replace(frame, values=values), settings, tested)
    assert peeking is not None and peeking.changed == (frame.names[3],)
    assert check_look_ahead(bars, replace(frame, feature_set="e" * 64), settings, tested) is None


def test_a_feature_that_looks_ahead_refuses_however_modest_the_figures(
    stocks: tuple[BarPanel, FeatureFrame], tmp_path: Path
) -> None:
    """One of 24 features that peeks a bar is named, though the model's figures raise no suspicion."""
    bars, frame = stocks
    values = frame.values.copy()
    values[:-1, :, 5] = frame.values[1:, :, 5]
    card = on_stocks((bars, replace(frame, values=values)), tmp_path, parameters={"trees": 5})
    assert card.metric("ic") < 0.15 and "findings" not in card.gate
    (told,) = [reason for reason in card.gate["reasons"] if reason.startswith("look-ahead")]
    assert told.startswith("look-ahead: 1 of 24 features change") and told.endswith(frame.names[5])


def test_a_splendid_model_without_a_proof_asks_for_one(market: Any, registry: Registry) -> None:
    """Where the features cannot be computed again, a ratio above one over five years is left to people."""
    told: list[str] = []
    training = market.settings.training.model_copy(update={"first_test": "0.25"})
    # One bar a week, so that few bars are many years.
    weeks = market.frame.timestamps[0] + np.arange(400) * np.timedelta64(7, "D")
    first = market.bars.between(end=to_datetime(market.bars.timestamps[399]))
    plenty = SimpleNamespace(
        bars=replace(first, timestamps=weeks),
        frame=replace(market.frame, timestamps=weeks, values=market.frame.values[:400]),
        settings=market.settings.model_copy(update={"training": training}),
    )
    few = {"minimum_leaf": 50, "trees": 15}
    card = learn(plenty, registry, on_progress=told.append, parameters=few).card
    assert card.metric("active_ir_net") > 1 and card.metric("years") > 5
    assert "checking that no feature looks ahead" in told
    assert card.gate["findings"] and set(card.gate["findings"]) <= set(card.gate["reasons"])


def test_only_a_first_champion_may_be_a_baseline(market: Any, registry: Registry, tmp_path: Path) -> None:
    """What learns nothing needs a p-value of 5 % to be the first; later it is judged as all others are."""
    training = market.settings.training.model_copy(
        update={"max_pvalue": 1e-9, "baseline_max_pvalue": 1.0 - 1e-9}
    )
    chosen = market.settings.model_copy(update={"training": training})
    lenient = SimpleNamespace(bars=market.bars, frame=market.frame, settings=chosen)
    first = learn(lenient, registry, "momentum").card
    assert not any("ic_pvalue" in reason for reason in first.gate["reasons"])
    for family, champion in (("momentum", first), ("lightgbm", None)):
        judged = learn(lenient, registry, family, champion=champion).card
        assert any("ic_pvalue" in reason for reason in judged.gate["reasons"])


NEW_FAMILY = '''
"""Ordinary least squares on the last row."""
from dataclasses import dataclass
import numpy as np
from models.onnx import onnx_graph as graph

@dataclass(frozen=True)
class Fitted:
    weights: np.ndarray
    def predict(self, panel):
        return panel[:, -1] @ self.weights
    def to_onnx(self):
        from onnx import helper, numpy_helper
        take_row, last = graph.last_row_node("row")
        multiply = helper.make_node("MatMul", ["row", "weights"], [graph.OUTPUT_NAME])
        weights = numpy_helper.from_array(self.weights, "weights")
        return graph.build_graph("ols", [take_row, multiply], [last, weights], len(self.weights))
    def hard_inputs(self, panel):
        return panel[:0]

@dataclass(frozen=True)
class OrdinaryLeastSquares:
    name: str = "ols"
    lookback: int = 1
    cross_sectional: bool = False
    score_kind: str = "z_score"
    def default_parameters(self):
        return {}
    def search_space(self):
        return {}
    def fit(self, dataset, parameters, seed):
        inputs, targets, _, _ = dataset.samples(1)
        return Fitted(np.linalg.lstsq(inputs[:, -1], targets, rcond=None)[0].astype(np.float32))

FAMILY = OrdinaryLeastSquares()
'''


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder beside `models/zoo` with one more family, and a module that is none."""
    (tmp_path / "ols.py").write_text(textwrap.dedent(NEW_FAMILY))
    (tmp_path / "shared_maths.py").write_text("'''No family.'''")
    monkeypatch.setattr(models.zoo, "__path__", [*models.zoo.__path__, str(tmp_path)])
    yield
    import sys

    sys.modules.pop("models.zoo.ols", None)
    sys.modules.pop("models.zoo.shared_maths", None)


@pytest.mark.usefixtures("dropped_in")
def test_one_file_adds_a_family(market: Any, registry: Registry) -> None:
    """A module with `FAMILY` in the zoo is found by name, trained, exported, judged and registered."""
    assert families.family_names() == ["lightgbm", "momentum", "ols", "transformer"]
    trained = learn(market, registry, "ols")
    assert trained.card.family == "ols" and trained.card.fidelity["passed"]
    assert trained.card.metric("ic") > 0.05
    assert trained.version in registry.versions("small")


def test_the_families_that_come_with_the_platform() -> None:
    """A baseline, trees and a transformer, each with defaults inside its own search space."""
    assert families.family_names() == ["lightgbm", "momentum", "transformer"]
    for name in families.family_names():
        family = families.find_family(name)
        assert family.search_space().keys() <= family.default_parameters().keys()
        assert not family.cross_sectional


def test_the_transformer_is_small_and_learns(market: Any) -> None:
    """It has under 20,000 weights, finds the planted signal, and leaves torch's generator alone."""
    import torch

    from models.dataset import make_dataset

    family = families.find_family("transformer")
    dataset = make_dataset(market.frame, market.bars.adjusted_close, 5, range(0, 700))
    before = torch.random.get_rng_state()
    fitted: Any = family.fit(dataset, family.default_parameters() | {"epochs": 4, "every": 2}, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert sum(weights.numel() for weights in fitted.network.parameters()) < 20_000
    inputs, targets, bars, _ = make_dataset(market.frame, market.bars.adjusted_close, 5).samples(16)
    later = bars > 710
    assert np.corrcoef(fitted.predict(inputs[later]), targets[later])[0, 1] > 0.08
