"""Versions whose scores depend on each other: scored on their own universe, whoever is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton

from alphaloop.bars import to_datetime64
from alphaloop.clock import SystemClock
from alphaloop.errors import FeatureSetMismatchError, UnknownNameError
from alphaloop.forecasts import SymbolStatus, hash_inputs
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.runtime.circuit_breaker import BreakerState
from alphaloop.runtime.processes import free_port
from alphaloop.settings.settings import Settings
from features.feature_set import FeatureSet
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer
from marketdata.source import close_only_panel
from models.onnx.export import open_session, run_session
from models.registry.model_registry import Registry
from rollouts.evidence.score_parity import ScoreRecomputation
from serving.hosts.process import ProcessHost
from serving.inference.core import InferenceCore
from serving.log.prediction_log import PredictionLog
from serving.protocol.messages import InferenceRequest, InferenceResponse

Graph = Callable[[int, int], bytes]
LOOKBACK = 2
OK, MISSING = SymbolStatus.OK, SymbolStatus.MISSING
SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
FEW = SYMBOLS[14:2:-1]
OTHERS = SYMBOLS[8:]


@pytest.fixture
def add(shelf: Any, z_score_onnx: Graph) -> Callable[..., str]:
    """Registers a version that scores the z-score of feature `column` among `universe`."""
    plain = shelf.registry.card(shelf.name, shelf.add(1.0, 0.0, 0.0))

    def added(universe: tuple[str, ...], column: int = 0, **changes: Any) -> str:
        content = z_score_onnx(3, column)
        digest = hashlib.sha256(content).hexdigest()
        card = replace(plain, cross_sectional=True, universe=universe, digest=digest, **changes)
        return str(shelf.registry.register(shelf.name, content, card))

    return added


def among(served: Any, universe: tuple[str, ...]) -> dict[str, float]:
    """What the file of `add` gives for the whole of `universe`, by symbol."""
    registry, model = served.world.registry, served.model
    versions = registry.versions(model)
    version = next(one for one in versions if registry.card(model, one).universe == universe)
    session = open_session(registry.onnx(model, version))
    there = [symbol for symbol in universe if symbol in served.world.symbols]
    rows = [served.world.symbols.index(symbol) for symbol in there]
    scores = run_session(session, served.world.panel[rows, -LOOKBACK:])
    return dict(zip(there, scores.tolist(), strict=True))


def ask(served: Any, *symbols: str, **changes: Any) -> InferenceResponse:
    """The answer for `symbols` at the bar that the store holds."""
    request = {"model": served.model, "symbols": symbols, "as_of": served.world.bar, **changes}
    answer = served.core.infer(InferenceRequest(**request))
    assert isinstance(answer, InferenceResponse)
    return answer


def test_a_subset_gets_the_bits_of_the_whole(shelf: Any, serve: Any, add: Any) -> None:
    """Few symbols, in any order and one of them twice, are scored among the model's whole universe."""
    shelf.route(champion=add(FEW))
    served = serve(shelf)
    whole = among(served, FEW)
    together = ask(served, *FEW)
    assert together.scores.tolist() == list(whole.values())
    assert np.std(together.scores) == pytest.approx(1.0, abs=1e-3)
    for asked in (("S07",), ("S12", "S03"), ("S05", "S05", "S14"), FEW[::-1]):
        answer = ask(served, *asked)
        assert answer.scores.tolist() == [whole[symbol] for symbol in asked]
        assert answer.statuses == (OK,) * len(asked)
        assert answer.parameters["input_hash"] == together.parameters["input_hash"]


def test_a_pinned_version_is_scored_on_its_universe_too(shelf: Any, serve: Any, add: Any) -> None:
    """A request that names a version gets the scores among that version's universe."""
    version = add(FEW)
    shelf.route(champion=add(OTHERS))
    served = serve(shelf)
    served.core.repository.load(served.model, version)
    assert ask(served, "S09", version=version).scores.tolist() == [among(served, FEW)["S09"]]
    assert ask(served, "S09").scores.tolist() == [among(served, OTHERS)["S09"]]


def test_a_subset_over_grpc_gets_the_bits_of_the_whole(shelf: Any, world: Any, add: Any) -> None:
    """An unmodified client that asks for some symbols reads the scores it reads when it asks for all."""
    shelf.route(champion=add(FEW))
    settings = world.settings(model=shelf.name)
    with ProcessHost(settings, free_port()) as host, triton.InferenceServerClient(host.url) as client:

        def scores(*symbols: str) -> bytes:
            tensor = triton.InferInput("symbols", [len(symbols)], "BYTES")
            tensor.set_data_from_numpy(np.array(symbols, dtype=np.object_))
            answer = client.infer(shelf.name, [tensor], parameters={"as_of": world.bar.isoformat()})
            return bytes(answer.as_numpy("scores").tobytes())

        whole = scores(*FEW)
        assert b"".join(scores(symbol) for symbol in FEW) == whole
        assert scores(*FEW[:5]) + scores(*FEW[5:]) == whole


def test_a_member_without_inputs_is_masked_and_the_rest_answered(shelf: Any, serve: Any, add: Any) -> None:
    """A symbol of the universe that the store lacks is missing, and the others are scored without it."""
    shelf.route(champion=add((*FEW[:4], "GONE", *FEW[4:])))
    served = serve(shelf)
    rows = [served.world.symbols.index(symbol) for symbol in FEW]
    seen = served.world.panel[rows, -1, 0].astype(np.float64)
    expected = dict(zip(FEW, ((seen - seen.mean()) / seen.std()).tolist(), strict=True))
    answer = ask(served, "S04", "GONE", "S11")
    assert answer.statuses == (OK, MISSING, OK)
    assert np.isnan(answer.scores[1])
    assert answer.scores[[0, 2]].tolist() == pytest.approx([expected["S04"], expected["S11"]], abs=1e-4)
    assert ask(served, "GONE").statuses == (MISSING,)


def test_a_symbol_outside_the_universe_is_missing(shelf: Any, serve: Any, add: Any) -> None:
    """A symbol that the model never saw changes no score and has none, though the store holds it."""
    shelf.route(champion=add(FEW))
    served = serve(shelf)
    answer = ask(served, "S00", "S07", "NOBODY")
    assert answer.statuses == (MISSING, OK, MISSING)
    assert np.isnan(answer.scores[[0, 2]]).all() and answer.scores[1] == among(served, FEW)["S07"]
    with pytest.raises(
        UnknownNameError, match=r"'S00' in the universe of 12 symbols that .* version 2"
    ) as told:
        ask(served, "S00", "NOBODY")
    assert told.value.known == tuple(sorted(FEW))


def test_a_row_of_a_subset_is_recomputed_from_its_universe(shelf: Any, serve: Any, add: Any) -> None:
    """The log holds what was answered and the hash of all it depends on; control finds the same scores."""
    shelf.route(champion=add(FEW))
    served = serve(shelf)
    world = served.world
    answer = ask(served, "S07", "S00", "S03")
    (row,) = served.rows(1)
    assert (row.symbols, row.statuses) == (("S07", "S00", "S03"), ("ok", "missing", "ok"))
    assert row.scores[::2] == tuple(answer.scores[::2].tolist()) and np.isnan(row.scores[1])
    assert row.features[::2].tolist() == world.panel[[7, 3], -1].tolist() and np.isnan(row.features[1]).all()
    rows = [SYMBOLS.index(symbol) for symbol in FEW]
    assert row.input_hash == answer.parameters["input_hash"] == hash_inputs(world.panel[rows, -LOOKBACK:])
    recomputation = ScoreRecomputation(shelf.registry, world.features)
    assert recomputation.difference(row, recomputation.frames(world.bars)) == 0.0


@pytest.mark.parametrize("state", [RolloutState.SHADOW, RolloutState.CANARY])
def test_each_version_of_a_rollout_is_scored_on_its_own_universe(
    shelf: Any, serve: Any, add: Any, state: RolloutState
) -> None:
    """Champion and challenger of different universes score one request, each as if it were alone."""
    champion, challenger = add(FEW), add(OTHERS, column=1)
    shelf.route(champion=champion, challenger=challenger, state=state, weight=1.0)
    served = serve(shelf)
    ours, theirs = among(served, FEW), among(served, OTHERS)
    asked = ("S03", "S09", "S12", "S19")
    answer = ask(served, *asked, route_key="sleeve-03")
    rows = {row.version: row for row in served.rows(2)}
    for version, scores in ((champion, ours), (challenger, theirs)):
        expected = [scores.get(symbol, np.nan) for symbol in asked]
        np.testing.assert_array_equal(np.array(rows[version].scores, np.float32), np.float32(expected))
    assert answer.version == (challenger if state is RolloutState.CANARY else champion)
    assert rows[champion].input_hash != rows[challenger].input_hash
    recomputation = ScoreRecomputation(shelf.registry, served.world.features)
    frames = recomputation.frames(served.world.bars)
    assert [recomputation.difference(row, frames) for row in rows.values()] == [0.0, 0.0]


def test_an_independent_challenger_scores_whatever_is_asked_for(shelf: Any, serve: Any, add: Any) -> None:
    """Beside a champion with a universe, a version that looks at one symbol at a time scores them all."""
    champion, challenger = add(FEW), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW, weight=1.0)
    served = serve(shelf)
    ask(served, "S00", "S07")
    rows = {row.version: row for row in served.rows(2)}
    assert rows[challenger].scores == tuple(served.world.last(1)[place] for place in (0, 7))
    assert rows[champion].scores[1] == among(served, FEW)["S07"] and rows[champion].statuses == (
        "missing",
        "ok",
    )


def test_a_challenger_that_knows_none_of_them_stands_aside(shelf: Any, serve: Any, add: Any) -> None:
    """The champion answers, and it speaks neither in the log nor at the breaker against the challenger."""
    champion, challenger = add(FEW), add(OTHERS)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf, breaker_failures=1)
    answer = ask(served, "S03", route_key="sleeve-03")
    assert (answer.version, answer.parameters["route"]) == (champion, "fallback")
    ask(served, "S09", route_key="sleeve-03")
    assert [(row.version, row.route) for row in served.rows(3)] == [
        (champion, "fallback"), (challenger, "canary"), (champion, "shadow"),
    ]  # fmt: skip
    assert BreakerState.OPEN not in served.core.breakers.states().values()


def test_a_card_of_before_is_served_as_before(shelf: Any, serve: Any, add: Any) -> None:
    """Where the card does not say of which universe a model is, it is scored on what was asked for."""
    shelf.route(champion=add(()))
    served = serve(shelf)
    scores = ask(served, "S07", "S03").scores
    assert sorted(scores.tolist()) == pytest.approx([-1.0, 1.0], abs=1e-2)


def test_a_panel_is_scored_as_it_was_sent(shelf: Any, serve: Any, add: Any) -> None:
    """Who sends the inputs decides whom a symbol is compared with; both versions of a rollout score them."""
    champion, challenger = add(FEW), add(OTHERS)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW, weight=1.0)
    served = serve(shelf)
    panel = served.world.panel[:2, -LOOKBACK:]
    answer = served.core.infer(InferenceRequest(model=served.model, panel=panel))
    assert sorted(answer.scores.tolist()) == pytest.approx([-1.0, 1.0], abs=1e-2)
    assert {row.version for row in served.rows(2)} == {champion, challenger}


# --- features over a universe ----------------------------------------------------------------------

RANKED = FeatureSet(("return_1", "rank(return_5)", "return_5"))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, world: Any) -> Path:
    """A home whose online store holds ranks over `SYMBOLS`."""
    home = tmp_path_factory.mktemp("ranked")
    steps = np.random.default_rng(3).normal(0, 0.01, (30, len(SYMBOLS)))
    times = to_datetime64(world.bar) + np.arange(-29, 1).astype("timedelta64[D]")
    bars = close_only_panel(times, SYMBOLS, 100 * np.exp(np.cumsum(steps, axis=0)))
    with Streamer(Settings(home=home).paths.feast, RANKED, SYMBOLS, bars, 4, SystemClock()) as streamer:
        streamer.materialize("s")
    return home


@pytest.mark.parametrize(
    ("universe", "refused"),
    [
        pytest.param(SYMBOLS[::-1], False, id="the-same-in-another-order"),
        pytest.param((), False, id="unknown"),
        pytest.param(SYMBOLS[1:], True, id="one-fewer"),
        pytest.param((*SYMBOLS, "LISTED"), True, id="one-more"),
    ],
)
def test_ranks_over_another_universe_are_refused(
    ranked: Path, shelf: Any, world: Any, universe: tuple[str, ...], refused: bool
) -> None:
    """A model that learned from ranks over other symbols gets none of these, and the refusal says why."""
    registry = Registry(Settings(home=ranked).paths.registry)
    plain = shelf.registry.card(shelf.name, shelf.add(1.0, 0.0, 0.0))
    card = replace(plain, universe=universe, feature_set=RANKED.hash, features=RANKED.names)
    version = registry.register(shelf.name, shelf.registry.onnx(shelf.name, "1"), card)
    registry.write_rollout(RolloutDocument(model=shelf.name, champion=version), None)
    settings = world.settings(model=shelf.name).model_copy(update={"home": ranked})
    reader, log = OnlineReader(settings.paths.feast), PredictionLog(settings.paths.prediction_log)
    core = InferenceCore(settings, registry, reader, log)
    core.start()
    request = InferenceRequest(model=shelf.name, symbols=("S04",), as_of=world.bar)
    try:
        if refused:
            expected = rf"version 1 was trained .* {len(universe)} symbols .* over another .* start again"
            with pytest.raises(FeatureSetMismatchError, match=expected):
                core.infer(request)
        else:
            assert core.infer(request).statuses == (OK,)
        assert (
            core.infer(InferenceRequest(model=shelf.name, panel=np.ones((1, 2, 3), np.float32))).scores == 1.0
        )
    finally:
        core.close()
