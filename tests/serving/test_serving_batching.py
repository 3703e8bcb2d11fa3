"""Requests that wait at once for the same version are scored in one run, where their scores allow it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import AlphaloopError, ServingError, StaleFeaturesError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.circuit_breaker import BreakerState
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from serving.inference.model_cache import LoadedModel
from serving.inference.routed_request import RoutedRequest
from serving.protocol.errors import DeadlineError
from serving.protocol.messages import InferenceRequest, InferenceResponse, InvalidRequestError
from serving.server import gateway as gateway_module
from serving.server.gateway import Gateway

Answer = InferenceResponse | AlphaloopError


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The version and the number of symbols of each run of a graph, but for those that warm it."""
    seen: list[tuple[str, int]] = []
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        if panel.any():
            seen.append((self.version, len(panel)))
        return original(self, panel)

    monkeypatch.setattr(LoadedModel, "_run", run)
    return seen


def ask(
    gateway: Gateway, requests: Sequence[InferenceRequest], remaining: float | None = None
) -> list[Answer]:
    """What each of `requests` is answered, when all come at once behind one that is being answered."""

    async def one(request: InferenceRequest) -> Answer:
        try:
            return await gateway.infer(RoutedRequest(request, remaining_seconds=remaining))
        except AlphaloopError as error:
            return error
        finally:
            gateway.admission.leave()

    async def all_at_once() -> list[Answer]:
        for _ in requests:
            assert gateway.admission.enter()
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(all_at_once())


def answered(answers: Sequence[Answer]) -> list[InferenceResponse]:
    """The answers, none of which may be an error."""
    good = [one for one in answers if isinstance(one, InferenceResponse)]
    assert len(good) == len(answers), answers
    return good


def panels(model: str, *sizes: int, **more: Any) -> list[InferenceRequest]:
    """Requests by tensor for that many symbols each; the same for the same sizes."""
    random = np.random.default_rng(5)
    return [
        InferenceRequest(model, panel=random.normal(size=(size, 2, 3)).astype(np.float32), **more)
        for size in sizes
    ]


def dot(request: InferenceRequest, *weights: float) -> list[float]:
    """What a linear version with `weights` scores."""
    assert request.panel is not None
    return [float(one) for one in request.panel[:, -1] @ np.array(weights, np.float32)]


@pytest.fixture
def gateway(shelf: Any, serve: Any) -> Gateway:
    """A gateway before one champion, that has answered nothing yet."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf)
    return Gateway(served.core, served.core.settings)


def test_requests_that_wait_are_scored_in_one_run(gateway: Gateway, runs: Any) -> None:
    """Five that wait: one run of all their symbols, and each gets the scores of its own."""
    requests = panels(gateway.settings.serving.model, 3, 1, 4, 1, 5)
    answers = ask(gateway, requests)
    assert runs == [("1", 14)]
    for request, answer in zip(requests, answered(answers), strict=True):
        assert np.allclose(answer.scores, dot(request, 1.0, 2.0, 3.0), rtol=0, atol=1e-5)
        assert len(answer.statuses) == request.size


def test_an_idle_server_scores_each_request_alone(gateway: Gateway, runs: Any) -> None:
    """Requests one after another: nothing waits, and nothing is held back to be scored with another."""
    for request in panels(gateway.settings.serving.model, 2, 3):
        assert isinstance(ask(gateway, [request])[0], InferenceResponse)
    assert runs == [("1", 2), ("1", 3)]


def test_scores_that_depend_on_each_other_are_never_mixed(shelf: Any, serve: Any, runs: Any) -> None:
    """A cross-sectional version scores each request by itself, however many wait."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0, cross_sectional=True))
    served = serve(shelf)
    ask(Gateway(served.core, served.core.settings), panels(shelf.name, 2, 2, 2))
    assert runs == [("1", 2)] * 3


def test_a_run_grows_to_the_limit_of_the_settings(shelf: Any, serve: Any, runs: Any) -> None:
    """No run has more symbols than `serving.batch_symbols`; a request that is larger goes alone."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    served = serve(shelf, batch_symbols=8)
    ask(Gateway(served.core, served.core.settings), panels(shelf.name, 3, 3, 3, 20, 2, 3))
    assert [size for _, size in runs] == [8, 6, 20], "3 + 3 + 2, then 3 + 3, then the large one"


def test_batching_can_be_turned_off(shelf: Any, serve: Any, runs: Any) -> None:
    """With `serving.batch_symbols` 0 each request has a run of its own."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    served = serve(shelf, batch_symbols=0)
    ask(Gateway(served.core, served.core.settings), panels(shelf.name, 1, 1, 1))
    assert [size for _, size in runs] == [1, 1, 1]


def test_a_wrong_request_among_those_that_wait_harms_no_other(gateway: Gateway, runs: Any) -> None:
    """It gets its own error when its turn comes; the others are scored together."""
    first, wrong, last = panels(gateway.settings.serving.model, 2, 2, 2)
    wrong = replace(wrong, panel=np.zeros((2, 2, 5), np.float32))
    answers = ask(gateway, [first, wrong, last])
    assert isinstance(answers[1], InvalidRequestError)
    assert "takes [symbols, 2, 3]" in str(answers[1])
    assert all(isinstance(answers[place], InferenceResponse) for place in (0, 2))
    assert runs == [("1", 4)]


def test_a_run_that_fails_is_told_only_to_who_made_it_fail(shelf: Any, serve: Any, runs: Any) -> None:
    """One input of several has no finite score: it alone is refused."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0, root=True))
    served = serve(shelf)
    requests = panels(shelf.name, 2, 2, 2)
    for request, sign in zip(requests, (1.0, -1.0, 1.0), strict=True):
        np.abs(request.panel, out=request.panel)
        np.multiply(request.panel, sign, out=request.panel)
    answers = ask(Gateway(served.core, served.core.settings), requests)
    assert [type(answer) for answer in answers] == [InferenceResponse, ServingError, InferenceResponse]
    assert "not finite" in str(answers[1])
    assert [size for _, size in runs] == [6, 2, 2, 2], "together once, and then each alone"


def test_a_masked_symbol_keeps_its_request_out_of_the_batch(gateway: Gateway, runs: Any) -> None:
    """A request with a missing value is scored by itself, the missing symbol masked."""
    first, holed, last = panels(gateway.settings.serving.model, 2, 2, 2)
    assert holed.panel is not None
    holed.panel[1, 0, 0] = np.nan
    answers = ask(gateway, [first, holed, last])
    assert sorted(size for _, size in runs) == [1, 4]
    assert isinstance(answers[1], InferenceResponse)
    assert np.isnan(answers[1].scores).tolist() == [False, True]


def test_a_request_past_its_deadline_is_in_no_batch(gateway: Gateway, runs: Any) -> None:
    """What nobody waits for any more is not computed, with others as little as alone."""
    first, late, last = panels(gateway.settings.serving.model, 2, 2, 2)
    answers = ask(gateway, [first, replace(late, timeout=0.0), last])
    assert isinstance(answers[1], DeadlineError)
    assert runs == [("1", 4)]


def test_in_a_canary_each_version_scores_its_own(shelf: Any, serve: Any, runs: Any) -> None:
    """Champion's and challenger's requests wait in one line and are scored in a run of each; so are the
    shadows, one by one, when the answers are out.
    """
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.5, salt="x")
    served = serve(shelf)
    sleeves = sleeve_names(20)
    requests = [
        replace(request, route_key=sleeve)
        for request, sleeve in zip(panels(shelf.name, *[1] * len(sleeves)), sleeves, strict=True)
    ]
    answers = ask(Gateway(served.core, served.core.settings), requests)
    for request, answer in zip(requests, answered(answers), strict=True):
        canary = answer.parameters["route"] == Route.CANARY
        assert answer.version == (challenger if canary else champion)
        weights = (0.0, 1.0, 0.0) if canary else (1.0, 0.0, 0.0)
        assert answer.scores.tolist() == dot(request, *weights)
    assert sorted(size for _, size in runs)[-2:] == [10, 10]
    rows = served.rows(40)
    assert {len([row for row in rows if row.version == one]) for one in (champion, challenger)} == {20}


def test_a_batch_by_symbols_answers_as_one_by_one(shelf: Any, serve: Any, runs: Any) -> None:
    """Requests by symbols read the store each, are scored together, and get their own symbols' scores."""
    shelf.route(champion=shelf.add(0.0, 1.0, 0.0))
    served = serve(shelf)
    world = served.world
    parts = [world.symbols[start : start + 5] for start in range(0, 20, 5)]
    requests = [InferenceRequest(shelf.name, symbols=part, as_of=world.bar) for part in parts]
    answers = ask(Gateway(served.core, served.core.settings), requests)
    assert runs == [("1", 20)]
    found = [float(score) for answer in answered(answers) for score in answer.scores]
    assert found == world.last(1)


def test_statistics_count_runs_and_requests(gateway: Gateway, runs: Any) -> None:
    """Three requests in one run: one execution of six inferences, three successes, one batch of six."""
    model = gateway.settings.serving.model
    ask(gateway, panels(model, 1, 2, 3))
    (found,) = gateway.statistics.for_versions([(model, "1")])
    assert (found.executions, found.inferences, found.durations()["success"].count) == (1, 6, 3)
    assert runs == [("1", 6)]


def test_each_of_a_batch_is_said_to_take_the_whole_run(
    shelf: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow run is slow for all that it scored: in the log, by which a canary is judged, and in metrics."""
    slow = 0.02
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    served = serve(shelf)
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        sleep(slow)
        return original(self, panel)

    monkeypatch.setattr(LoadedModel, "_run", run)
    answers = ask(Gateway(served.core, served.core.settings), panels(shelf.name, 1, 1, 1))
    assert all(answer.answers[0].timing.inference >= slow for answer in answered(answers))
    assert all(row.latency_ms >= slow * 1e3 for row in served.rows(3))


def test_a_version_that_is_left_alone_is_not_asked_for_many(shelf: Any, serve: Any, runs: Any) -> None:
    """While a version's breaker is open no batch asks it either."""
    shelf.route(champion=shelf.add(0.0, 0.0, -1.0, root=True))
    served = serve(shelf, breaker_failures=1)
    gateway = Gateway(served.core, served.core.settings)
    bad = InferenceRequest(shelf.name, symbols=served.world.symbols, as_of=served.world.bar)
    assert isinstance(ask(gateway, [bad])[0], ServingError)
    runs.clear()
    assert all(
        isinstance(answer, ServingError) for answer in ask(gateway, [bad, bad, *panels(shelf.name, 1)])
    )
    assert runs == []


def test_the_run_that_is_one_too_many_is_answered(shelf: Any, serve: Any) -> None:
    """A slow run of several is used all the same; only after it is the version left alone."""
    shelf.route(champion=shelf.add(0.0, 1.0, 0.0))
    served = serve(shelf, slow_ms=1e-6, breaker_failures=1, breaker_seconds=60, last_good_seconds=0)
    request = InferenceRequest(shelf.name, symbols=served.world.symbols, as_of=served.world.bar)
    gateway = Gateway(served.core, served.core.settings)
    for answer in answered(ask(gateway, [request] * 3)):
        assert answer.scores.tolist() == served.world.last(1)
    assert served.core.breakers.states()[shelf.name, "1"] is BreakerState.OPEN
    (after,) = ask(gateway, [request])
    assert "left alone" in str(after)


def test_requests_for_several_keys_are_scored_together_where_one_version_answers_them(
    shelf: Any, serve: Any, runs: Any
) -> None:
    """Keys that all lead to the champion wait like one; keys of two versions are scored for themselves."""
    document = shelf.route(
        champion=shelf.add(1.0, 1.0, 1.0), challenger=shelf.add(2.0, 2.0, 2.0),
        state=RolloutState.CANARY, weight=0.25, salt="x",
    )  # fmt: skip
    served = serve(shelf)
    canary = sorted(plan_sleeves(document, sleeve_names(20)).canary)
    champions = [sleeve for sleeve in sleeve_names(20) if sleeve not in canary]
    first, second, both = panels(shelf.name, 2, 3, 4)
    requests = [
        replace(first, route_keys=tuple(champions[:5])),
        replace(second, route_keys=tuple(champions[5:])),
        replace(both, route_keys=(champions[0], canary[0])),
    ]
    runs.clear()
    answers = answered(ask(Gateway(served.core, served.core.settings), requests))
    assert runs.count(("1", 5)) == 1
    assert sorted(size for version, size in runs if version == "1") == [4, 5]
    assert [[answer.version for answer in one.answers] for one in answers] == [["1"], ["1"], ["1", "2"]]
    for request, answer in zip(requests[:2], answers, strict=False):
        assert np.allclose(answer.scores[0], dot(request, 1.0, 1.0, 1.0), rtol=0, atol=1e-5)


def test_what_cannot_be_prepared_is_tried_once_before_its_turn(
    shelf: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for a bar that is not there costs two readings of its inputs, however many turns it waits."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    served = serve(shelf, batch_symbols=8)
    stale = served.world.bar + timedelta(days=1)
    late = InferenceRequest(shelf.name, symbols=("S00",), as_of=stale)
    prepared: list[InferenceRequest] = []
    original = served.core.prepare

    def prepare(routed: RoutedRequest) -> Any:
        prepared.append(routed.request)
        return original(routed)

    monkeypatch.setattr(served.core, "prepare", prepare)
    answers = ask(Gateway(served.core, served.core.settings), [*panels(shelf.name, *[7] * 6), late])
    assert isinstance(answers[-1], StaleFeaturesError)
    assert sum(one is late for one in prepared) == 2
    answered(answers[:-1])


def test_what_was_scored_with_others_is_answered(
    gateway: Gateway, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that are there are given, although the run took until after the deadline."""
    passed = [0.0]
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        passed[0] += 10.0
        return original(self, panel)

    monkeypatch.setattr(LoadedModel, "_run", run)
    monkeypatch.setattr(gateway_module, "monotonic", lambda: monotonic() + passed[0])
    requests = panels(gateway.settings.serving.model, 1, 1, 1)
    answered(ask(gateway, requests, remaining=5.0))
    assert runs == [("1", 3)]


def test_scores_that_are_given_again_are_not_counted_as_of_their_batch(
    shelf: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good scores may be of a batch; the answer that repeats them tells its own time and size."""
    shelf.route(champion=shelf.add(0.0, 1.0, 0.0))
    served = serve(shelf)
    world = served.world
    parts = [world.symbols[:5], world.symbols[5:10]]
    requests = [InferenceRequest(shelf.name, symbols=part, as_of=world.bar) for part in parts]
    gateway = Gateway(served.core, served.core.settings)
    assert [one.answers[0].timing.scored_symbols for one in answered(ask(gateway, requests))] == [10, 0]

    def fail(self: LoadedModel, panel: Any) -> Any:
        raise ServingError("it fails")

    monkeypatch.setattr(LoadedModel, "_run", fail)
    for request in requests:
        (again,) = answered(ask(gateway, [request]))
        assert (again.parameters["stale"], again.answers[0].timing.scored_symbols) == (True, 5)
