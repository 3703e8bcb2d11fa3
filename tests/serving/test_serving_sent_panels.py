"""Panels that clients send: they harm no version's name, and reach a challenger only where they suit it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import ServingError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.circuit_breaker import BreakerState
from serving.inference import version_breaker as breaker_module
from serving.inference.model_cache import LoadedModel
from serving.inference.routed_request import RoutedRequest
from serving.protocol.messages import InferenceRequest, InferenceResponse
from serving.server.gateway import Gateway

# Finite, but three of them are more than float32 can hold.
HUGE = 3e38
UNSUITED = {
    "a longer lookback": {"weights": (3.0, 2.0, 1.0), "lookback": 4},
    "fewer features": {"weights": (3.0, 2.0), "features": ("a", "b"), "feature_set": "e" * 64},
    "other features": {"weights": (3.0, 2.0, 1.0), "feature_set": "e" * 64},
}


def by_tensor(served: Any, value: float = 0.0, key: str = "") -> InferenceRequest:
    """A request with a panel of `value` for one symbol, in the champion's shape."""
    return InferenceRequest(served.model, panel=np.full((1, 2, 3), value, np.float32), route_key=key)


def by_symbols(served: Any, key: str = "") -> InferenceRequest:
    """A request for the bar that the store holds."""
    return InferenceRequest(served.model, symbols=served.world.symbols, as_of=served.world.bar, route_key=key)


def add(shelf: Any, weights: tuple[float, ...], **changes: Any) -> str:
    """Register a version."""
    version: str = shelf.add(*weights, **changes)
    return version


def breaker_of(served: Any, version: str = "1") -> BreakerState:
    """How the breaker of a version stands; one that was never asked has none to open."""
    state: BreakerState = served.core.breakers.states().get((served.model, version), BreakerState.CLOSED)
    return state


def test_a_panel_without_a_finite_score_is_the_fault_of_who_sent_it(serve: Any, shelf: Any) -> None:
    """However many are sent, each is refused, and the version goes on answering everybody else."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, breaker_failures=2, last_good_seconds=0)
    for _ in range(5):
        with pytest.raises(ServingError, match="not finite"):
            served.core.infer(by_tensor(served, HUGE))
    assert breaker_of(served) is BreakerState.CLOSED
    assert len(served.core.infer(by_symbols(served)).scores) == len(served.world.symbols)


def test_a_panel_that_takes_long_is_not_held_against_the_version(serve: Any, shelf: Any) -> None:
    """Neither one by one nor in a batch: how large it is is its client's choice."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, slow_ms=1e-6, breaker_failures=1)
    served.core.infer(by_tensor(served))
    batch = [served.core.prepare(RoutedRequest(by_tensor(served))) for _ in range(2)]
    assert served.core.score_together(batch)
    assert breaker_of(served) is BreakerState.CLOSED


def test_a_batch_with_a_panel_that_a_client_sent_is_not_held_against_the_version(
    serve: Any, shelf: Any
) -> None:
    """What made the run slow may have been the client's part of it; of the store's inputs alone it counts."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0, lookback=2))
    served = serve(shelf, slow_ms=1e-6, breaker_failures=1)
    stored, sent = (
        served.core.prepare(RoutedRequest(request)) for request in (by_symbols(served), by_tensor(served))
    )
    served.core.score_together([stored, sent])
    assert breaker_of(served) is BreakerState.CLOSED
    served.core.score_together([stored, stored])
    assert breaker_of(served) is BreakerState.OPEN


def test_a_panel_that_a_client_sent_is_no_trial(
    serve: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered while a trial is due, but neither closes the breaker nor takes the trial's place."""
    moment = [100.0]
    real = breaker_module.CircuitBreaker
    monkeypatch.setattr(
        breaker_module, "CircuitBreaker", lambda *given: real(*given, elapsed=lambda: moment[0])
    )
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, breaker_failures=1, breaker_seconds=10, last_good_seconds=0)
    loaded = served.core._model_cache.load(shelf.name, "1")
    working, loaded._run = loaded._run, lambda panel: np.full(len(panel), np.nan, np.float32)
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(by_symbols(served))
    loaded._run = working
    with pytest.raises(ServingError, match="left alone"):
        served.core.infer(by_tensor(served))
    moment[0] += 10.0
    assert served.core.infer(by_tensor(served)).scores.tolist() == [0.0]
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(by_tensor(served, HUGE))
    assert breaker_of(served) is BreakerState.HALF_OPEN
    assert len(served.core.infer(by_symbols(served)).scores) == len(served.world.symbols)
    assert breaker_of(served) is BreakerState.CLOSED


@pytest.mark.parametrize("changes", UNSUITED.values(), ids=UNSUITED.keys())
def test_a_challenger_is_not_scored_on_a_panel_that_does_not_suit_it(
    serve: Any, shelf: Any, changes: dict[str, Any]
) -> None:
    """A client's panel is made for the champion: beside it nothing is scored, logged or held against it."""
    champion, challenger = shelf.add(1.0, 2.0, 3.0), add(shelf, **changes)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW)
    served = serve(shelf, breaker_failures=1)
    for _ in range(3):
        served.core.infer(by_tensor(served))
    served.core.close()
    assert [(row.version, row.error) for row in served.seen.new()] == [(champion, None)] * 3
    assert breaker_of(served, challenger) is BreakerState.CLOSED


@pytest.mark.parametrize("changes", UNSUITED.values(), ids=UNSUITED.keys())
def test_in_a_canary_a_panel_that_does_not_suit_the_challenger_is_the_champions(
    serve: Any, shelf: Any, changes: dict[str, Any]
) -> None:
    """The champion answers it in the challenger's place, and nothing is held against the challenger."""
    champion, challenger = shelf.add(1.0, 2.0, 3.0), add(shelf, **changes)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf, breaker_failures=1)
    answer = served.core.infer(by_tensor(served, 1.0, key="sleeve-00"))
    assert (answer.version, answer.parameters["route"]) == (champion, Route.FALLBACK)
    assert answer.scores.tolist() == [6.0]
    assert breaker_of(served, challenger) is BreakerState.CLOSED


def test_a_shorter_challenger_sees_the_end_of_a_panel(serve: Any, shelf: Any) -> None:
    """One of the same features that looks back less far is scored on the last rows of a client's panel."""
    champion, challenger = shelf.add(1.0, 2.0, 3.0), shelf.add(3.0, 2.0, 1.0, lookback=1)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW)
    served = serve(shelf)
    served.core.infer(by_tensor(served, 1.0))
    assert {row.version: row.scores for row in served.rows(2)} == {champion: (6.0,), challenger: (6.0,)}


def test_panels_that_do_not_suit_the_challenger_wait_for_the_champion(
    serve: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a canary they are scored in one run of the champion, whatever waits for the challenger."""
    champion = shelf.add(1.0, 2.0, 3.0)
    challenger = shelf.add(3.0, 2.0, 1.0, lookback=4)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    gateway, key = Gateway(served.core, served.core.settings), "sleeve-00"
    requests = [by_symbols(served, key), by_tensor(served, 1.0, key), by_tensor(served, 2.0, key)]
    runs: list[tuple[str, int]] = []
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        runs.append((self.version, len(panel)))
        return original(self, panel)

    async def one(request: InferenceRequest) -> InferenceResponse:
        assert gateway.admission.enter()
        try:
            return await gateway.infer(RoutedRequest(request))
        finally:
            gateway.admission.leave()

    async def all_at_once() -> list[InferenceResponse]:
        return await asyncio.gather(*map(one, requests))

    with monkeypatch.context() as patch:
        patch.setattr(LoadedModel, "_run", run)
        answers = asyncio.run(all_at_once())
    assert [answer.version for answer in answers] == [challenger, champion, champion]
    assert [answer.scores.tolist() for answer in answers[1:]] == [[6.0], [12.0]]
    assert runs.count((champion, 2)) == 1
