"""Versions of different feature sets side by side: each is scored on the features that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import SystemClock
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import sleeve_names
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer
from models.onnx.export import open_session, run_session
from models.registry.model_registry import Registry
from rollouts.evidence.score_parity import ScoreRecomputation
from serving.inference.core import InferenceCore
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow
from serving.protocol.messages import InferenceRequest

PRESENT = FeatureSet(("return_1", "return_5", "volatility_10"))
FORMER = FeatureSet(("rsi(5)", "mine"), {"mine": "close / sma(7) - 1"})
WINDOW, NAME = 4, "equities"


class Bench:
    """A registry with a champion of the former set and a challenger of the present one, and their server."""

    def __init__(self, home: Path, bars: BarPanel, card_of: Any, linear: Any) -> None:
        self.settings = Settings(home=home, serving=ServingSettings(model=NAME, poll_seconds=60.0))
        self.registry, self.bars = Registry(self.settings.paths.registry), bars
        self.file = {FORMER.hash: linear(1.0, 2.0), PRESENT.hash: linear(3.0, 0.0, -1.0)}
        for features in (FORMER, PRESENT):
            content = self.file[features.hash]
            card = card_of(
                NAME, content, feature_set=features.hash, features=features.names,
                definition=features.definition, digest=hashlib.sha256(content).hexdigest(),
            )  # fmt: skip
            self.registry.register(NAME, content, card)

    def stream(self, *further: FeatureSet) -> None:
        """Write the windows at the last bar."""
        paths, symbols = self.settings.paths, self.bars.symbols
        with Streamer(
            paths.feast, PRESENT, symbols, self.bars, WINDOW, SystemClock(),
            further=[(one, symbols) for one in further], replace=True,
        ) as streamer:  # fmt: skip
            streamer.materialize("snapshot-1")

    def core(self, weight: float, state: RolloutState) -> InferenceCore:
        """A server of champion 1 and challenger 2."""
        started = (self.bars.at(len(self.bars) - 1).timestamp - timedelta(days=1)).isoformat()
        document = RolloutDocument(
            NAME, "1", challenger="2", state=state, weight=weight, started=started, stage_started=started
        )
        self.registry.write_rollout(document, None)
        paths = self.settings.paths
        reader, log = OnlineReader(paths.feast), PredictionLog(paths.prediction_log)
        core = InferenceCore(self.settings, self.registry, reader, log)
        core.start()
        return core

    def request(self, sleeve: str = "sleeve-00") -> InferenceRequest:
        """All symbols at the last bar."""
        last = self.bars.at(len(self.bars) - 1).timestamp
        return InferenceRequest(NAME, symbols=self.bars.symbols, as_of=last, route_key=sleeve)

    def expected(self, features: FeatureSet, version: str) -> list[float]:
        """What the version's file gives for the features that backfill gives."""
        panel = backfill(self.bars, features).window(len(self.bars) - 1, 2)
        found: list[float] = run_session(open_session(self.registry.onnx(NAME, version)), panel).tolist()
        return found

    def rows(self) -> dict[tuple[str, str], PredictionRow]:
        """What was logged, by version and route."""
        reader = PredictionLogReader(self.settings.paths.prediction_log, NAME)
        return {(row.version, row.route): row for row in reader.new()}


@pytest.fixture
def bench(tmp_path: Path, bars: Any, card: Any, linear: Any) -> Bench:
    """Both versions are registered; nothing is streamed yet."""
    return Bench(tmp_path, bars, card, linear)


@pytest.fixture
def serve(bench: Bench) -> Iterator[Callable[..., InferenceCore]]:
    """Starts cores that are closed again."""
    made: list[InferenceCore] = []

    def start(weight: float = 0.0, state: RolloutState = RolloutState.SHADOW) -> InferenceCore:
        made.append(bench.core(weight, state))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_champion_and_shadow_are_each_scored_on_their_own_features(bench: Bench, serve: Any) -> None:
    """Neither is the other's set, and the log says of each row what it was scored on."""
    bench.stream(FORMER)
    core = serve()
    answer = core.infer(bench.request())
    assert answer.scores.tolist() == bench.expected(FORMER, "1")
    assert answer.parameters["feature_set"] == FORMER.hash
    core.close()
    rows = bench.rows()
    shadow = rows["2", "shadow"]
    assert list(shadow.scores) == bench.expected(PRESENT, "2")
    assert (shadow.feature_set, shadow.error) == (PRESENT.hash, None)
    assert rows["1", "champion"].features.shape[1] == 2 and shadow.features.shape[1] == 3


def test_control_recomputes_each_from_the_definition_on_its_card(bench: Bench, serve: Any) -> None:
    """The settings know one of the sets; of the other its card says what it is, own formulas included."""
    bench.stream(FORMER)
    core = serve()
    core.infer(bench.request())
    core.close()
    recomputation = ScoreRecomputation(bench.registry, PRESENT)
    frames = recomputation.frames(bench.bars)
    for row in bench.rows().values():
        assert recomputation.difference(row, frames) == 0.0


def test_a_canary_is_answered_by_the_challenger_on_its_own_features(bench: Bench, serve: Any) -> None:
    """Of the sleeves in the canary each gets the challenger's scores, the others the champion's."""
    bench.stream(FORMER)
    core = serve(0.5, RolloutState.CANARY)
    versions = {}
    for sleeve in sleeve_names(20):
        answer = core.infer(bench.request(sleeve))
        features = PRESENT if answer.version == "2" else FORMER
        assert answer.scores.tolist() == bench.expected(features, answer.version)
        versions[answer.version] = answer.parameters["route"]
    assert versions == {"1": "champion", "2": "canary"}


def test_a_challenger_whose_features_nobody_writes_harms_no_champion(bench: Bench, serve: Any) -> None:
    """The champion answers; the challenger's row says what is missing, and what brings it."""
    paths, symbols = bench.settings.paths, bench.bars.symbols
    with Streamer(paths.feast, FORMER, symbols, bench.bars, WINDOW, SystemClock()) as streamer:
        streamer.materialize("snapshot-1")
    core = serve()
    answer = core.infer(bench.request())
    assert answer.scores.tolist() == bench.expected(FORMER, "1")
    core.close()
    shadow = bench.rows()["2", "shadow"]
    assert "was trained on feature set" in str(shadow.error)
    assert "from its next bar on" in str(shadow.error)
    assert np.isnan(shadow.scores).all() and shadow.digest


def test_a_challenger_that_looks_back_further_than_is_kept_harms_no_champion(
    bench: Bench, serve: Any, card: Any, linear: Any
) -> None:
    """Its window is not there, and its row says so; the champion has all that it needs."""
    bench.stream(FORMER)
    content = linear(3.0, 0.0, -1.0, lookback=WINDOW + 1)
    digest = hashlib.sha256(content).hexdigest()
    long = card(
        NAME, content, feature_set=PRESENT.hash, features=PRESENT.names, lookback=WINDOW + 1, digest=digest
    )
    bench.registry.register(NAME, content, long)
    core = serve()
    document = bench.registry.rollout(NAME)
    bench.registry.write_rollout(document.next(challenger="3"), document.generation)
    answer = core.infer(replace(bench.request(), min_generation=document.generation + 1))
    assert answer.scores.tolist() == bench.expected(FORMER, "1")
    core.close()
    assert f"keeps {WINDOW} rows" in str(bench.rows()["3", "shadow"].error)
