"""Both hosts against an unmodified tritonclient: the same suite on Ray Serve and on the plain process."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from alphaloop.errors import ServingError
from alphaloop.forecasts import Route, SymbolStatus, hash_inputs
from alphaloop.rollout_document import Override, RolloutState
from alphaloop.runtime.processes import child_environment, free_port
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from serving.client.client import PredictionClient
from serving.client.retry_policy import RetrySettings
from serving.hosts.process import ProcessHost
from serving.log.prediction_log import PredictionLogReader
from serving.protocol.messages import OUTPUTS

SERVE = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts import environment
from serving.hosts.ray import RayHost
if sys.argv[3] == "python-proxy":
    environment.has_haproxy = lambda: False
host = RayHost(Settings.model_validate_json(sys.argv[1]), grpc_port=int(sys.argv[2]))
host.run_forever(lambda url: print(url, host.ingress, flush=True))
print("drained", flush=True)
"""


@dataclass(frozen=True)
class Server:
    """A running server; `shelf` is the model of its settings, with weights (1, 2, 3) as champion."""

    url: str
    settings: Settings
    shelf: Any
    world: Any

    def expected(self, *weights: float) -> np.ndarray[Any, Any]:
        """The scores of a linear model on what the store holds."""
        return np.asarray(self.world.panel[:, -1] @ np.array(weights, np.float32), np.float32)


@contextmanager
def on_ray(settings: Settings, ingress: str = "haproxy") -> Iterator[str]:
    """A Ray host in a child, ended by SIGTERM as a supervisor would; nothing of it may stay."""
    command = [sys.executable, "-c", SERVE, settings.model_dump_json(), str(free_port()), ingress]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as child:
        assert child.stdout is not None
        url, _, chosen = child.stdout.readline().strip().partition(" ")
        started = psutil.Process(child.pid).children(recursive=True)
        assert chosen == ingress
        assert any("haproxy" in process.name() for process in started) is (ingress == "haproxy")
        yield url
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read().splitlines() == ["drained"]
        assert child.wait(30) == 0
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert str(child.pid) not in [owner.read_text() for owner in Path("/tmp").glob("alr-*/owner.pid")]


@contextmanager
def on_process(settings: Settings) -> Iterator[str]:
    """The plain host, in this process."""
    with ProcessHost(settings, free_port()) as host:
        yield host.url


def on_python_proxy(settings: Settings) -> AbstractContextManager[str]:
    """A Ray host on a machine that has no HAProxy."""
    return on_ray(settings, "python-proxy")


HOSTS = [
    pytest.param(on_process, id="process"),
    pytest.param(on_ray, id="ray"),
    pytest.param(on_python_proxy, id="ray-without-haproxy", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=HOSTS)
def server(request: pytest.FixtureRequest, world: Any, module_shelf: Any) -> Iterator[Server]:
    """One start a host for all tests of this module."""
    if module_shelf.registry.models().count(module_shelf.name) == 0:
        module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    settings = world.settings(model=module_shelf.name, allow_drills=True)
    with request.param(settings) as url:
        yield Server(url, settings, module_shelf, world)


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """An unmodified client."""
    with triton.InferenceServerClient(server.url) as made:
        yield made


def tensor(name: str, values: np.ndarray[Any, Any], datatype: str) -> Any:
    """An input that holds `values`."""
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def panel_input(panel: np.ndarray[Any, Any]) -> Any:
    """The input of a request by tensor."""
    return tensor("panel", panel, "FP32")


def symbols_input(*symbols: str) -> Any:
    """The input of a request by symbols."""
    return tensor("symbols", np.array(symbols, dtype=np.object_), "BYTES")


def test_health(server: Server, client: Any) -> None:
    """The server is live and ready; models and versions are ready if they exist."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(server.shelf.name)
    assert client.is_model_ready(server.shelf.name, "1")
    assert not client.is_model_ready(server.shelf.name, "99")
    assert not client.is_model_ready("nothing")


def test_metadata(server: Server, client: Any) -> None:
    """The server says its name and version, the model its versions, inputs and outputs."""
    assert client.get_server_metadata().name == "alphaloop"
    metadata = client.get_model_metadata(server.shelf.name, as_json=True)
    assert (metadata["name"], metadata["versions"]) == (server.shelf.name, ["1"])
    shapes = {one["name"]: (one["datatype"], one["shape"]) for one in metadata["inputs"]}
    assert shapes == {
        "panel": ("FP32", ["-1", "2", "3"]), "symbols": ("BYTES", ["-1"]), "route_key": ("BYTES", ["-1"]),
    }  # fmt: skip
    assert {one["name"]: one["datatype"] for one in metadata["outputs"]} == OUTPUTS
    with pytest.raises(InferenceServerException, match="unknown model 'nothing'"):
        client.get_model_metadata("nothing")


def test_infer_by_tensor(server: Server, client: Any) -> None:
    """A panel gets the model's scores, bit for bit those of the graph, and its id back."""
    panel = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    result = client.infer(server.shelf.name, [panel_input(panel)], request_id="seven")
    assert np.allclose(result.as_numpy("scores"), panel[:, -1] @ np.float32([1, 2, 3]), atol=1e-6)
    assert result.as_numpy("statuses").tolist() == [b"ok"] * 5
    response = result.get_response()
    assert (response.id, response.model_version) == ("seven", "1")
    assert response.parameters["input_hash"].string_param == hash_inputs(panel)


def test_infer_by_symbols(server: Server, client: Any) -> None:
    """Symbols and a bar get the scores of what the online store holds of exactly that bar."""
    result = client.infer(
        server.shelf.name,
        [symbols_input(*server.world.symbols)],
        parameters={"as_of": server.world.bar.isoformat(), "route_key": "sleeve-00"},
    )
    assert np.allclose(result.as_numpy("scores"), server.expected(1, 2, 3), atol=1e-6)
    assert result.get_response().parameters["feature_timestamp"].string_param == server.world.bar.isoformat()


def test_unknown_symbols_are_masked(server: Server, client: Any) -> None:
    """A symbol that nobody knows gets a status, and the others their scores."""
    result = client.infer(
        server.shelf.name, [symbols_input("NOPE", "S03")], parameters={"as_of": server.world.bar.isoformat()}
    )
    assert result.as_numpy("statuses").tolist() == [b"missing", b"ok"]
    assert np.isnan(result.as_numpy("scores")[0])
    assert result.as_numpy("scores")[1] == pytest.approx(server.expected(1, 2, 3)[3], abs=1e-6)


def test_only_requested_outputs_come(server: Server, client: Any) -> None:
    """A client that asks for one output gets that one."""
    wanted = [triton.InferRequestedOutput("statuses")]
    result = client.infer(server.shelf.name, [panel_input(server.world.panel[:2, -2:])], outputs=wanted)
    assert result.as_numpy("scores") is None
    assert result.as_numpy("statuses").tolist() == [b"ok", b"ok"]


GOOD = np.zeros((2, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("inputs", "options", "status", "message"),
    [
        (panel_input(GOOD), {"model_name": "nothing"}, "NOT_FOUND", "unknown model 'nothing'"),
        (panel_input(GOOD), {"model_version": "99"}, "NOT_FOUND", "unknown version '99'"),
        (tensor("x", GOOD, "FP32"), {}, "INVALID_ARGUMENT", "no input 'x'"),
        (panel_input(GOOD[:, :1]), {}, "INVALID_ARGUMENT", r"shape \[2, 1, 3\].*takes \[symbols, 2, 3\]"),
        (panel_input(GOOD[0]), {}, "INVALID_ARGUMENT", r"shape \[2, 3\]"),
        (tensor("panel", GOOD.astype(np.float64), "FP64"), {}, "INVALID_ARGUMENT", "FP64; it is FP32"),
        (symbols_input("S00"), {}, "INVALID_ARGUMENT", "needs the parameter 'as_of'"),
        (symbols_input("S00"), {"parameters": {"as_of": "noon"}}, "INVALID_ARGUMENT", "'as_of' is 'noon'"),
    ],
)
def test_errors_have_status_and_reason(
    server: Server, client: Any, inputs: Any, options: dict[str, Any], status: str, message: str
) -> None:
    """What a client does wrong is answered by gRPC's status for it, with the name and the value."""
    with pytest.raises(InferenceServerException, match=message) as caught:
        client.infer(inputs=[inputs], **{"model_name": server.shelf.name} | options)
    assert caught.value.status() == f"StatusCode.{status}"


def test_a_wrong_byte_length_is_refused(server: Server) -> None:
    """Raw content that does not fill the shape is refused, whatever client sent it."""
    import grpc

    request = service_pb2.ModelInferRequest(model_name=server.shelf.name, raw_input_contents=[b"\0" * 8])
    request.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    with grpc.insecure_channel(server.url) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert "8 bytes" in caught.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("days", "side"), [(3, "older"), (-3, "newer")])
def test_stale_features_are_refused_with_their_age(server: Server, client: Any, days: int, side: str) -> None:
    """A bar that the store has not reached, or has left behind, is not answered from another."""
    as_of = (server.world.bar + timedelta(days=days)).isoformat()
    with pytest.raises(InferenceServerException, match=f"3 days, .*{side}") as caught:
        client.infer(server.shelf.name, [symbols_input("S00")], parameters={"as_of": as_of})
    assert caught.value.status() == "StatusCode.FAILED_PRECONDITION"


def test_what_is_not_offered_says_so(client: Any) -> None:
    """The protocol's optional methods are answered by UNIMPLEMENTED."""
    with pytest.raises(InferenceServerException, match="does not offer TraceSetting") as caught:
        client.get_trace_settings()
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_stream_survives_its_errors(server: Server, client: Any) -> None:
    """Requests of a stream are answered in their order, and a wrong one does not end it."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    good, bad = server.world.panel[:3, -2:], server.world.panel[:3, -1:]
    for panel in (good, bad, good):
        client.async_stream_infer(server.shelf.name, [panel_input(panel)])
    first, wrong, last = (answers.get(timeout=10) for _ in range(3))
    client.stop_stream()
    assert "takes [symbols, 2, 3]" in wrong[1].message()
    assert first[0].as_numpy("scores").tolist() == last[0].as_numpy("scores").tolist()


def test_a_forecast_carries_its_lineage(server: Server) -> None:
    """The client's forecast names the model's digest, the data's snapshot and the hash of the inputs."""
    with PredictionClient(server.url, server.shelf.name) as client:
        assert client.live()
        assert client.ready()
        forecast = client.forecast(server.world.symbols, server.world.bar, "sleeve-00")
    assert np.allclose(forecast.scores, server.expected(1, 2, 3), atol=1e-6)
    assert forecast.input_hash == hash_inputs(server.world.panel[:, -2:])
    assert forecast.digest == server.shelf.registry.card(server.shelf.name, "1").digest
    assert (forecast.snapshot, forecast.feature_set) == (server.world.snapshot, server.world.feature_set)
    assert (forecast.as_of, forecast.feature_timestamp) == (server.world.bar, server.world.bar)
    assert set(forecast.statuses) == {SymbolStatus.OK}
    assert (forecast.route, forecast.version, forecast.generation) == (Route.CHAMPION, "1", 1)


def test_the_client_sends_tensors_too(server: Server) -> None:
    """`infer` gives the scores of a panel, by the router's version or a named one."""
    panel = server.world.panel[:, -2:]
    with PredictionClient(server.url, server.shelf.name) as client:
        assert np.allclose(client.infer(panel), server.expected(1, 2, 3), atol=1e-6)
        assert np.array_equal(client.infer(panel, version="1"), client.infer(panel))


def test_the_client_says_what_failed(server: Server) -> None:
    """Every failure is a serving error that names the server, the status and the reason."""
    bar = server.world.bar
    with PredictionClient(server.url, "nothing") as client:
        assert not client.ready()
        with pytest.raises(ServingError, match=rf"{server.url}.*NOT_FOUND.*unknown model 'nothing'"):
            client.forecast(["S00"], bar)
    client = PredictionClient(server.url, server.shelf.name)
    with client, pytest.raises(ServingError, match=r"FAILED_PRECONDITION.*1 day"):
        client.forecast(["S00"], bar + timedelta(days=1))
    with PredictionClient(f"127.0.0.1:{free_port()}", "nothing") as client:
        assert not client.live()


def test_a_canary_is_routed_and_logged_over_the_wire(server: Server, shelf: Any) -> None:
    """Sleeves reach their version, both versions score each request, and no row is missing in the log."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion)
    log = PredictionLogReader(server.settings.paths.prediction_log, shelf.name)
    # A hedged copy of a slow request would be scored and logged as well.
    with PredictionClient(server.url, shelf.name, retries=RetrySettings(hedge_ms=0)) as client:
        assert client.forecast(server.world.symbols, server.world.bar).version == champion
        document = shelf.route(state=RolloutState.CANARY, challenger=challenger, weight=0.5, salt="s")
        plan = plan_sleeves(document, sleeve_names(20))
        for sleeve in sleeve_names(20):
            forecast = client.forecast(
                server.world.symbols, server.world.bar, sleeve, min_generation=document.generation
            )
            assert forecast.version == plan.version(sleeve)
            assert forecast.route == plan.route(sleeve)
    rows = log.wait_for(server.world.bar, timeout=5)
    while len(rows) < 41:
        more = log.wait_for(server.world.bar, timeout=5)
        assert more, f"{len(rows)} of 41 rows came"
        rows += more
    counts = {route: [row.route for row in rows].count(route) for route in ("champion", "canary", "shadow")}
    assert counts == {"champion": 11, "canary": 10, "shadow": 20}
    assert (len({row.prediction_id for row in rows}), log.dropped) == (41, 0)


def test_a_drill_rotates_the_challengers_inputs(server: Server, shelf: Any) -> None:
    """With drills allowed, the override's skew shows in scores and logged features of the challenger only."""
    version, twin = shelf.add(1.0, 0.0, 0.0), shelf.add(1.0, 0.0, 0.0)
    override = Override(name="skew", by="test", reason="drill", rotate_inputs=1)
    shelf.route(champion=version, challenger=twin, state=RolloutState.CANARY, weight=1.0, override=override)
    with PredictionClient(server.url, shelf.name) as client:
        canary = client.forecast(server.world.symbols, server.world.bar, "sleeve-00")
        champion = client.forecast(server.world.symbols, server.world.bar, "no sleeve")
    assert np.allclose(canary.scores, server.world.last(2))
    assert np.allclose(champion.scores, server.world.last(0))
