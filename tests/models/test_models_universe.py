"""A family whose scores depend on each other: its card says of whom, and its file is judged on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.clock import ReplayClock
from models.dataset import Dataset, Panel
from models.evaluation.rank_agreement import rank_agreement
from models.family import Parameters, Scores
from models.onnx.export import open_session, run_session
from models.registry.model_registry import Registry
from models.training.train import TrainedModel, train
from models.training.training_run import TrainingRun
from models.zoo import registry as families

Graph = Callable[[int, int], bytes]
CLOCK = ReplayClock(datetime(2019, 1, 2, 21, tzinfo=UTC))


@dataclass(frozen=True)
class ZScore:
    """The first feature's z-score among the symbols of the request."""

    graph: Graph
    features: int = 0
    name: str = "z_score"
    lookback: int = 1
    cross_sectional: bool = True
    score_kind: str = "z_score"

    def default_parameters(self) -> dict[str, Any]:
        return {}

    def search_space(self) -> dict[str, Any]:
        return {}

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> ZScore:
        return replace(self, features=len(dataset.frame.names))

    def predict(self, panel: Panel) -> Scores:
        values = panel[:, -1, 0]
        return (values - values.mean()) / np.sqrt(values.var() + np.float32(1e-12))

    def to_onnx(self) -> bytes:
        return self.graph(self.features, 0)

    def hard_inputs(self, panel: Panel) -> Panel:
        return panel[:0]


@pytest.fixture(scope="module")
def trained(
    market: Any, z_score_onnx: Graph, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainedModel, Registry]:
    """A cross-sectional model that went the whole way into a registry."""
    registry = Registry(tmp_path_factory.mktemp("universe") / "registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "find_family", lambda name: ZScore(z_score_onnx))
        run = TrainingRun(
            model="relative", family="z_score", bars=market.bars, frame=market.frame,
            snapshot="snapshot", strategy=AllocationStrategy(), trials=0,
        )  # fmt: skip
        made = train(run, registry, market.settings, CLOCK)
    return made, registry


def test_training_writes_its_universe_on_the_card(
    market: Any, trained: tuple[TrainedModel, Registry]
) -> None:
    """The registered card names the symbols in training's order, beside a file that is the model."""
    made, registry = trained
    card = registry.card("relative", made.version)
    assert card.universe == market.frame.symbols and card.cross_sectional
    assert card.fidelity["passed"] and card.fidelity["independent"]


def test_agreement_is_with_the_champions_own_universe(
    market: Any, z_score_onnx: Graph, trained: tuple[TrainedModel, Registry]
) -> None:
    """A champion of fewer symbols is compared on those alone; one that needs others cannot be compared."""
    made, registry = trained
    frame, few = market.frame, market.frame.symbols[7:1:-1]
    card = replace(registry.card("relative", made.version), universe=few)
    champion = registry.register("relative", z_score_onnx(len(frame.names), 0), card)
    session = open_session(registry.onnx("relative", champion))
    seen = [frame.symbols.index(symbol) for symbol in few]
    scores = np.full(frame.values.shape[:2], np.nan)
    for bar in range(500, 520):
        scores[bar, seen] = run_session(session, frame.window(bar, 1)[seen])
    found = rank_agreement(scores, frame, card, registry)
    assert found is not None and found["mean"] == pytest.approx(1.0) and found["q01"] == pytest.approx(1.0)
    scores[:, 0] = 100.0  # not of the champion's universe: nothing to agree on
    assert rank_agreement(scores, frame, card, registry) == found
    assert rank_agreement(scores, frame, replace(card, universe=(*few, "GONE")), registry) is None
