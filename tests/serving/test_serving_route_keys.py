"""One request for all route keys of a bar: each version runs once, and each key learns who answered it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError
from alphaloop.forecasts import RoutedForecasts
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.processes import free_port
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from serving.client.retry_policy import RetrySettings
from serving.hosts.process import ProcessHost
from serving.inference.model_cache import LoadedModel
from serving.log.logged_answers import distinct_answers
from serving.log.prediction_log import PredictionLogReader
from serving.protocol.messages import OUTPUTS, InferenceRequest, InferenceResponse

SLEEVES = sleeve_names(20)
Serve = Callable[..., Any]


@dataclass(frozen=True)
class Canary:
    """A host that serves a canary of five sleeves over gRPC and HTTP."""

    url: str
    http_port: int
    shelf: Any
    world: Any
    canary: frozenset[str]


@pytest.fixture(scope="module")
def canary(world: Any, module_shelf: Any) -> Iterator[Canary]:
    """One host for the tests of this module: champion 1, and challenger 2 with a quarter of the sleeves."""
    module_shelf.add(1.0, 0.0, 0.0)
    module_shelf.add(0.0, 1.0, 0.0)
    document = module_shelf.route(
        champion="1", challenger="2", state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    http_port = free_port()
    settings = world.settings(model=module_shelf.name, http_port=http_port)
    with ProcessHost(settings, free_port()) as host:
        planned = plan_sleeves(document, SLEEVES).canary
        yield Canary(host.url, http_port, module_shelf, world, planned)


def bar_request(served: Any, *keys: str, **changes: Any) -> InferenceRequest:
    """A request by symbols at the stored bar for all `keys`."""
    request: dict[str, Any] = {
        "model": served.model,
        "symbols": served.world.symbols,
        "as_of": served.world.bar,
        "route_keys": keys or SLEEVES,
    }
    return InferenceRequest(**request | changes)


def answers_by_key(response: InferenceResponse) -> dict[str, Any]:
    """The answer of each route key that has one."""
    pairs = zip(response.route_keys or (), response.answer_of, strict=True)
    return {key: response.answers[index] for key, index in pairs if index >= 0}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The version of each run of a graph, but for those that warm it."""
    seen: list[str] = []
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        if panel.any():
            seen.append(self.version)
        return original(self, panel)

    monkeypatch.setattr(LoadedModel, "_run", run)
    return seen


def test_each_sleeve_gets_what_it_would_get_alone(canary: Canary, make_client: Any) -> None:
    """All sleeves in one request: scores, route, version and hash of each are those of twenty requests."""
    with make_client(canary.url, canary.shelf.name) as client:
        together = client.forecasts(canary.world.symbols, canary.world.bar, SLEEVES)
        alone = {key: client.forecast(canary.world.symbols, canary.world.bar, key) for key in SLEEVES}
    assert isinstance(together, RoutedForecasts)
    assert together.failures == {}
    assert list(together.forecasts) == list(SLEEVES)
    for key, forecast in together.forecasts.items():
        names = set(type(forecast).__slots__) - {"prediction_id"}
        assert {name: getattr(forecast, name) for name in names} == {
            name: getattr(alone[key], name) for name in names
        }
        assert forecast.version == ("2" if key in canary.canary else "1")
    assert len({forecast.prediction_id for forecast in together.forecasts.values()}) == 2


def test_each_version_is_run_and_logged_once(shelf: Any, serve: Serve, runs: list[str]) -> None:
    """Twenty sleeves in a canary cost two runs and two rows, each with the sleeves that it answered."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    document = shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    served, planned = serve(shelf), plan_sleeves(document, SLEEVES).canary
    runs.clear()
    response = served.core.infer(bar_request(served))
    assert sorted(runs) == [champion, challenger]
    rows = {row.version: row for row in served.rows(2)}
    assert (rows[champion].route, rows[challenger].route) == ("champion", "canary")
    assert set(rows[challenger].route_keys) == planned
    assert set(rows[champion].route_keys) == set(SLEEVES) - planned
    logged = {row.prediction_id: set(row.route_keys) for row in rows.values()}
    answered: dict[str, set[str]] = {}
    for key, answer in answers_by_key(response).items():
        answered.setdefault(str(answer.parameters["prediction_id"]), set()).add(key)
    assert logged == answered
    assert served.rows(0) == []


def test_a_version_that_answers_no_sleeve_has_one_shadow_row(shelf: Any, serve: Serve) -> None:
    """In the shadow state the challenger's row has all sleeves, and the id of the answer that it shadows."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW, weight=1.0)
    served = serve(shelf)
    served.core.infer(bar_request(served))
    answer, shadow = served.rows(2)
    assert (answer.version, answer.route, shadow.version, shadow.route) == (
        champion, "champion", challenger, "shadow",
    )  # fmt: skip
    assert answer.route_keys == shadow.route_keys == SLEEVES
    assert shadow.prediction_id == f"{answer.prediction_id}/shadow"


def test_sleeves_of_a_failed_challenger_fall_back(shelf: Any, serve: Serve, runs: list[str]) -> None:
    """Where the challenger fails its sleeves get the champion's scores, which are computed once."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 0.0, -1.0, root=True)
    document = shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    served, planned = serve(shelf), plan_sleeves(document, SLEEVES).canary
    runs.clear()
    answers = answers_by_key(served.core.infer(bar_request(served)))
    assert runs.count(champion) == 1
    assert {answer.version for answer in answers.values()} == {champion}
    assert {key for key, answer in answers.items() if answer.route == "fallback"} == planned
    rows = {row.route: row for row in served.rows(3)}
    assert set(rows["fallback"].route_keys) == planned
    assert rows["fallback"].scores == rows["champion"].scores
    assert (rows["shadow"].version, rows["shadow"].route_keys) == (challenger, SLEEVES)
    assert "not finite" in str(rows["shadow"].error)


def test_sleeves_of_a_failed_champion_are_named_with_the_reason(shelf: Any, serve: Serve) -> None:
    """A champion that fails leaves its sleeves without an answer; the canary's sleeves have theirs."""
    champion, challenger = shelf.add(0.0, 0.0, -1.0, root=True), shelf.add(0.0, 1.0, 0.0)
    document = shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    served, planned = serve(shelf), plan_sleeves(document, SLEEVES).canary
    response = served.core.infer(bar_request(served))
    assert set(answers_by_key(response)) == planned
    reasons = dict(zip(SLEEVES, response.errors, strict=True))
    assert all(reasons[key] == "" for key in planned)
    assert all(
        "version 1 gave a score that is not finite" in reasons[key] for key in SLEEVES if key not in planned
    )
    failed, answered = sorted(served.rows(2), key=lambda row: row.version)
    assert (failed.route, set(failed.route_keys)) == ("champion", set(SLEEVES) - planned)
    assert (answered.route, set(answered.route_keys)) == ("canary", planned)


def test_a_request_without_any_answer_is_an_error(shelf: Any, serve: Serve) -> None:
    """Where no sleeve can be answered the request fails, as it does for one sleeve."""
    shelf.route(champion=shelf.add(0.0, 0.0, -1.0, root=True))
    served = serve(shelf)
    with pytest.raises(ServingError, match="version 1 gave a score that is not finite"):
        served.core.infer(bar_request(served))


def test_the_client_tells_the_sleeves_without_an_answer(world: Any, shelf: Any, make_client: Any) -> None:
    """`forecasts` gives the answered sleeves, and for the others the server's reason."""
    champion, challenger = shelf.add(0.0, 0.0, -1.0, root=True), shelf.add(0.0, 1.0, 0.0)
    document = shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    planned = plan_sleeves(document, SLEEVES).canary
    with (
        ProcessHost(world.settings(model=shelf.name), free_port()) as host,
        make_client(host.url, shelf.name) as client,
    ):
        routed = client.forecasts(world.symbols, world.bar, SLEEVES)
    assert set(routed.forecasts) == planned
    assert set(routed.failures) == set(SLEEVES) - planned
    assert all("not finite" in reason for reason in routed.failures.values())


def test_one_request_is_repeated_where_a_server_is_away(canary: Canary, make_client: Any) -> None:
    """The request for all sleeves is retried as a whole on another server, as any other is."""
    away = f"127.0.0.1:{free_port()}"
    with make_client(f"{away},{canary.url}", canary.shelf.name) as client:
        for _ in range(2):
            routed = client.forecasts(canary.world.symbols, canary.world.bar, SLEEVES)
            assert set(routed.forecasts) == set(SLEEVES)


def test_one_request_waits_as_long_as_a_full_server_says(world: Any, shelf: Any, make_client: Any) -> None:
    """A server that pushes back gets the request for all sleeves again, once for each bar."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    settings = world.settings(model=shelf.name, rate_limit=5.0, rate_burst=1)
    with ProcessHost(settings, free_port()) as host, make_client(host.url, shelf.name) as client:
        began = monotonic()
        for _ in range(3):
            assert len(client.forecasts(world.symbols, world.bar, SLEEVES).forecasts) == len(SLEEVES)
        assert monotonic() - began > 0.3


def test_a_hedged_request_counts_once(
    world: Any, shelf: Any, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers answer one late request for all sleeves: the first answer is used, and the log has one."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    late = [0.5]
    original = LoadedModel._run

    def run(self: LoadedModel, panel: Any) -> Any:
        if panel.any() and late:
            sleep(late.pop())
        return original(self, panel)

    settings, retries = world.settings(model=shelf.name), RetrySettings(hedge_ms=50.0, hedge_every=1)
    with ProcessHost(settings, free_port()) as first, ProcessHost(settings, free_port()) as second:
        monkeypatch.setattr(LoadedModel, "_run", run)
        with make_client([first.url, second.url], shelf.name, retries=retries) as client:
            routed = client.forecasts(world.symbols, world.bar, SLEEVES)
        assert set(routed.forecasts) == set(SLEEVES)
        sleep(0.6)
    rows = PredictionLogReader(settings.paths.prediction_log, shelf.name).new()
    assert 1 <= len(rows) <= 2
    (answer,) = distinct_answers(rows)
    assert answer.route_keys == SLEEVES


def test_an_answer_without_its_tensors_is_no_answer(replicas: Any, make_client: Any, world: Any) -> None:
    """A server that answers with scores alone is named, and no sleeve trades on them."""
    stranger = replicas(1.0)
    with (
        make_client(stranger.start(), "m") as client,
        pytest.raises(ServingError, match="is not an alphaloop server: its answer lacks"),
    ):
        client.forecasts(world.symbols, world.bar, SLEEVES)


def test_no_route_key_at_all_is_refused(canary: Canary, make_client: Any) -> None:
    """The server's refusal comes back as the client's error."""
    with (
        make_client(canary.url, canary.shelf.name) as client,
        pytest.raises(ServingError, match=r"input 'route_key' has shape \[0\]"),
    ):
        client.forecasts(canary.world.symbols, canary.world.bar, ())


def test_an_unmodified_client_reads_who_answered_which_key(canary: Canary) -> None:
    """Tritonclient sends the keys as a BYTES input, and reads a table of answers and an index into it."""
    symbols = np.array([name.encode() for name in canary.world.symbols], object)
    inputs = [
        triton.InferInput("symbols", [len(symbols)], "BYTES"),
        triton.InferInput("route_key", [len(SLEEVES)], "BYTES"),
    ]
    inputs[0].set_data_from_numpy(symbols)
    inputs[1].set_data_from_numpy(np.array([key.encode() for key in SLEEVES], object))
    parameters = {"as_of": canary.world.bar.isoformat()}
    with triton.InferenceServerClient(canary.url) as client:
        answer = client.infer(canary.shelf.name, inputs, parameters=parameters)
    scores, versions = answer.as_numpy("scores"), answer.as_numpy("version")
    assert scores.shape == (2, len(symbols)) == answer.as_numpy("statuses").shape
    assert answer.as_numpy("route_key").tolist() == [key.encode() for key in SLEEVES]
    for key, index in zip(SLEEVES, answer.as_numpy("answer"), strict=True):
        number = 1 if key in canary.canary else 0
        assert versions[index] == str(number + 1).encode()
        assert scores[index].tolist() == [float(one) for one in canary.world.panel[:, -1, number]]


def http_bar(canary: Canary, *extra: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The JSON of the answer to a request by symbols over HTTP."""
    symbols = list(canary.world.symbols)
    inputs = [{"name": "symbols", "datatype": "BYTES", "shape": [len(symbols)], "data": symbols}, *extra]
    parameters = {"as_of": canary.world.bar.isoformat()} | more.pop("parameters", {})
    connection = HTTPConnection("127.0.0.1", canary.http_port, timeout=10)
    body = json.dumps({"inputs": inputs, "parameters": parameters, **more})
    connection.request("POST", f"/v2/models/{canary.shelf.name}/infer", body)
    try:
        content: dict[str, Any] = json.loads(connection.getresponse().read())
        return content
    finally:
        connection.close()


def test_http_answers_all_route_keys(canary: Canary) -> None:
    """Over HTTP the same tensors come as JSON, and the parameters hold what all answers share."""
    keys = {"name": "route_key", "datatype": "BYTES", "shape": [20], "data": list(SLEEVES)}
    content = http_bar(canary, keys)
    outputs = {one["name"]: one for one in content["outputs"]}
    assert list(outputs) == list(OUTPUTS)
    assert (content["model_version"], content["parameters"]) == ("", {"generation": 1})
    assert (outputs["scores"]["shape"], outputs["answer"]["shape"]) == ([2, 20], [20])
    assert outputs["answer"]["datatype"] == "INT64"
    rows = np.reshape(outputs["scores"]["data"], (2, 20))
    for key, index in zip(outputs["route_key"]["data"], outputs["answer"]["data"], strict=True):
        number = 1 if key in canary.canary else 0
        assert outputs["version"]["data"][index] == str(number + 1)
        assert np.array_equal(rows[index].astype(np.float32), canary.world.panel[:, -1, number])
    assert outputs["error"]["data"] == [""] * 20


def test_the_form_with_one_route_key_is_as_it_was(canary: Canary) -> None:
    """With the key as a parameter two tensors come, without a dimension of answers, and their lineage."""
    content = http_bar(canary, parameters={"route_key": min(canary.canary)})
    assert [(one["name"], one["shape"]) for one in content["outputs"]] == [
        ("scores", [20]),
        ("statuses", [20]),
    ]
    assert (content["model_version"], content["parameters"]["route"]) == ("2", "canary")
    named = http_bar(canary, outputs=[{"name": "version"}, {"name": "answer"}])
    assert [(one["shape"], one["data"]) for one in named["outputs"]] == [([1], ["1"]), ([1], [0])]


def test_one_version_by_name_answers_all_keys(shelf: Any, serve: Serve) -> None:
    """A request that names its version gets one answer, whatever the rollout says of the keys."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25)
    served = serve(shelf)
    served.core.repository.load(shelf.name, challenger)
    response = served.core.infer(bar_request(served, version=challenger))
    assert [answer.version for answer in response.answers] == [challenger]
    assert response.answer_of == (0,) * len(SLEEVES)


def test_answers_to_keys_are_counted_by_version(shelf: Any, serve: Serve) -> None:
    """Metrics count a request once for each version and route that answered it, and each run once."""
    from serving.server.request_statistics import RequestStatistics

    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 0.0, -1.0, root=True)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25)
    served = serve(shelf)
    statistics = RequestStatistics()
    statistics.succeeded(served.core.infer(bar_request(served)), 0.0, 0.001)
    series = dict(statistics.series())
    assert {key[1:] for key in series} == {(champion, "champion"), (champion, "fallback")}
    assert [one.total.count for one in series.values()] == [1, 1]
    assert sum(one.sizes.count for one in series.values()) == 1
