"""HTTP by the Open Inference Protocol, with an unmodified tritonclient and with bare requests."""

from __future__ import annotations

import gzip
import json
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost

GOOD = np.zeros((2, 2, 3), np.float32)


@dataclass(frozen=True)
class HttpServed:
    """A process host over HTTP; `shelf` is the model of its settings, with weights (1, 2, 3) as champion."""

    url: str
    shelf: Any
    world: Any

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.shelf.name)

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers of one bare request."""
        connection = HTTPConnection(*self.url.split(":"), timeout=10)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
            undo = {"gzip": gzip.decompress, "deflate": zlib.decompress}
            content = undo.get(response.headers.get("content-encoding", ""), bytes)(content)
            kind = response.headers.get("content-type", "")
            found = json.loads(content) if kind.startswith("application/json") else content
            return response.status, found, {k.lower(): v for k, v in response.headers.items()}
        finally:
            connection.close()

    def infer(self, content: Any, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        """One bare inference of the model."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask(f"/v2/models/{self.model}/infer", body, headers)


@pytest.fixture(scope="module")
def served(world: Any, module_shelf: Any) -> Iterator[HttpServed]:
    """One host for the tests of this module."""
    module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    module_shelf.add(3.0, 2.0, 1.0)
    settings = world.settings(model=module_shelf.name, http_port=free_port(), max_request_bytes=100_000)
    with ProcessHost(settings, free_port()) as host:
        yield HttpServed(host.http_url, module_shelf, world)


@pytest.fixture
def client(served: HttpServed) -> Iterator[Any]:
    """An unmodified client."""
    with triton.InferenceServerClient(served.url) as made:
        yield made


def panel_input(panel: np.ndarray[Any, Any], binary: bool = True, datatype: str = "FP32") -> Any:
    """The input of a request by tensor."""
    made = triton.InferInput("panel", list(panel.shape), datatype)
    made.set_data_from_numpy(panel, binary_data=binary)
    return made


def symbols_input(*symbols: str, binary: bool = True) -> Any:
    """The input of a request by symbols."""
    made = triton.InferInput("symbols", [len(symbols)], "BYTES")
    made.set_data_from_numpy(np.array(symbols, dtype=np.object_), binary_data=binary)
    return made


def json_panel(panel: np.ndarray[Any, Any], **changes: Any) -> dict[str, Any]:
    """A request by tensor as JSON."""
    tensor = {"name": "panel", "shape": list(panel.shape), "datatype": "FP32", "data": panel.tolist()}
    return {"inputs": [tensor | changes]}


def test_health_over_http(served: HttpServed, client: Any) -> None:
    """Live and ready by status, with the rollout of each model in the details."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(served.model)
    assert client.is_model_ready(served.model, "1")
    assert not client.is_model_ready(served.model, "99")
    assert not client.is_model_ready("nothing")
    status, details, _ = served.ask("/v2/health/ready")
    assert (status, details["ready"], details["registry"]) == (200, True, "read")
    assert details["models"][served.model]["champion"] == "1"


def test_metadata_and_config_over_http(served: HttpServed, client: Any) -> None:
    """The server says what it offers; the model its shapes, its versions and its card's facts."""
    server = client.get_server_metadata()
    assert server["name"] == "alphaloop"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(server["extensions"])
    metadata = client.get_model_metadata(served.model)
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"][0] == {"name": "panel", "datatype": "FP32", "shape": [-1, 2, 3]}
    config = client.get_model_config(served.model)
    assert (config["name"], config["platform"]) == (served.model, "onnxruntime_onnx")
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["parameters"]["horizon"]["string_value"] == "5"


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_both_encodings_give_the_same_scores(
    served: HttpServed, client: Any, binary_input: bool, binary_output: bool
) -> None:
    """Binary and JSON tensors, in and out, mean the same."""
    panel = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary_output) for name in ("scores", "statuses")
    ]
    result = client.infer(
        served.model, [panel_input(panel, binary_input)], outputs=outputs, request_id="seven"
    )
    assert np.allclose(result.as_numpy("scores"), panel[:, -1] @ np.float32([1, 2, 3]), atol=1e-5)
    statuses = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("statuses")]
    assert statuses == ["ok"] * 5
    answer = result.get_response()
    assert (answer["id"], answer["model_version"]) == ("seven", "1")
    assert answer["parameters"]["route"] == "champion"


def test_masked_symbols_over_http(served: HttpServed, client: Any) -> None:
    """A symbol without inputs has a status and a null for its score; the rest is answered."""
    result = client.infer(
        served.model, [symbols_input("NOPE", "S03")], parameters={"as_of": served.world.bar.isoformat()}
    )
    assert result.as_numpy("statuses").tolist() == [b"missing", b"ok"]
    panel = np.full((2, 2, 3), np.nan, np.float32)
    panel[1] = 1.0
    status, answer, _ = served.infer(
        {"inputs": [{"name": "panel", "shape": [2, 2, 3], "datatype": "FP32",
                     "data": [None] * 6 + [1.0] * 6}]}
    )  # fmt: skip
    scores, statuses = answer["outputs"]
    assert (status, scores["data"], statuses["data"]) == (200, [None, 6.0], ["missing", "ok"])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(served: HttpServed, client: Any, algorithm: str) -> None:
    """What tritonclient compresses is read, and what it asks for compressed comes so."""
    panel = np.ones((20, 2, 3), np.float32)
    result = client.infer(
        served.model,
        [panel_input(panel)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("scores").tolist() == [6.0] * 20
    _, _, headers = served.infer(json_panel(GOOD), {"Accept-Encoding": f"br, {algorithm}"})
    assert headers["content-encoding"] == algorithm


def test_encodings_are_the_same_in_capitals(served: HttpServed) -> None:
    """RFC 9110, section 8.4.1: names of codings do not mind case, coming and going."""
    good = json.dumps(json_panel(GOOD)).encode()
    for content, encoding in (
        (good, "Identity"),
        (gzip.compress(good), "GZIP"),
        (zlib.compress(good), "Deflate"),
    ):
        status, _, headers = served.infer(content, {"Content-Encoding": encoding, "Accept-Encoding": "GZip"})
        assert (status, headers["content-encoding"]) == (200, "gzip")


def test_a_version_may_be_asked_for(served: HttpServed, client: Any) -> None:
    """A version in the path answers itself."""
    panel = np.ones((1, 2, 3), np.float32) * np.float32([1, 0, 0])
    assert client.infer(served.model, [panel_input(panel)], "2").as_numpy("scores").tolist() == [3.0]


INFINITE = GOOD.copy()
INFINITE[1, 0, 2] = np.inf


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({}, 400, "give one input"),
        ([], 400, "JSON list; it is an object"),
        (b"{", 400, "not JSON"),
        (b"[" * 100_00, 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        ({"inputs": {}}, 400, "list of objects"),
        ({"inputs": [1]}, 400, "list of objects"),
        (json_panel(GOOD, name="x"), 400, "no input 'x'"),
        (json_panel(GOOD, name=None), 400, "name in inputs"),
        (json_panel(GOOD, datatype="FP64"), 400, "FP64; it is FP32"),
        (json_panel(GOOD, shape=[2, 2]), 400, r"shape \[2, 2\]"),
        (json_panel(GOOD, shape=[3, 2, 3]), 400, "data nest otherwise"),
        (json_panel(GOOD, shape=[3, 2, 3], data=[0.0] * 12), 400, "48 bytes; .* needs 72"),
        (json_panel(GOOD, shape="many"), 400, "list of whole numbers"),
        (json_panel(GOOD, data=[[1], 2]), 400, "data nest otherwise"),
        (json_panel(GOOD, data=["a"] * 12), 400, "no number"),
        (json_panel(GOOD, data=[10**400] * 12), 400, "too large"),
        (json_panel(GOOD, data=None), 400, "no list 'data'"),
        (json_panel(GOOD, parameters={"binary_data_size": 4}), 400, "0 bytes are left"),
        (json_panel(GOOD, parameters=[]), 400, "'parameters' is"),
        (json_panel(GOOD[:, :1]), 400, r"takes \[symbols, 2, 3\]"),
        (json_panel(GOOD) | {"outputs": [{"name": "y"}]}, 400, "no output 'y'"),
        (json_panel(GOOD) | {"id": 7}, 400, "'id' is 7"),
        (json_panel(GOOD) | {"parameters": {"route_key": 7}}, 400, "'route_key' is 7"),
        (json_panel(GOOD) | {"parameters": {"timeout": "soon"}}, 400, "'timeout' is 'soon'"),
        (json_panel(INFINITE), 400, r"infinite at \[1, 0, 2\]"),
        (json_panel(GOOD, data=[0.0] * 20_000), 413, "more than 100000 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_its_status(
    served: HttpServed, content: Any, status: int, message: str
) -> None:
    """Each thing that can be wrong with a body is named, with the status that HTTP has for it."""
    found, answer, _ = served.infer(content)
    assert found == status
    assert re.search(message, answer["error"]), answer


def test_binary_data_must_fit(served: HttpServed) -> None:
    """The length of the JSON and of each tensor are checked against what came."""
    head = json.dumps(
        {"inputs": [{"name": "panel", "shape": [2, 2, 3], "datatype": "FP32",
                     "parameters": {"binary_data_size": 48}}]}
    ).encode()  # fmt: skip
    name, data = "Inference-Header-Content-Length", GOOD.tobytes()
    assert served.infer(head + data, {name: str(len(head))})[0] == 200
    wrong = {
        "48 bytes are": (head + data[:-4], str(len(head))),
        "belong to no input": (head + data + b"x", str(len(head))),
        "the body has": (head + data, "100000"),
        "'-1'": (head + data, "-1"),
        "'many'": (head + data, "many"),
    }
    for body, length in wrong.values():
        assert served.infer(body, {name: length})[0] == 400


def test_damaged_and_swollen_compression_is_refused(served: HttpServed) -> None:
    """A body that is not what it says, or becomes too large, costs no memory."""
    good = json.dumps(json_panel(GOOD)).encode()
    assert served.infer(gzip.compress(good), {"Content-Encoding": "gzip"})[0] == 200
    bomb = zlib.compress(b"\0" * 50_000_000)
    for content, encoding, status in (
        (b"not at all", "gzip", 400),
        (gzip.compress(good)[:-8], "gzip", 400),
        (good, "br", 400),
        (bomb, "deflate", 413),
    ):
        assert served.infer(content, {"Content-Encoding": encoding})[0] == status


def test_names_that_are_unknown_over_http(served: HttpServed, client: Any) -> None:
    """Unknown models, versions, symbols and paths are 404; what is not offered is 501."""
    for name, version in (("nothing", ""), (served.model, "99"), (served.model, "one")):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(name, [panel_input(GOOD)], version)
        assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="unknown symbol 'NOPE'") as caught:
        client.infer(
            served.model, [symbols_input("NOPE")], parameters={"as_of": served.world.bar.isoformat()}
        )
    assert caught.value.status() == "404"
    assert served.ask("/v2/nothing")[0] == 404
    assert served.ask(f"/v2/models/{served.model}/infer")[0] == 405
    with pytest.raises(InferenceServerException, match="does not offer"):
        client.get_trace_settings()
    with pytest.raises(InferenceServerException, match="does not offer"):
        client.get_system_shared_memory_status()


def test_stale_features_over_http(served: HttpServed, client: Any) -> None:
    """A bar that the store does not stand at is 409, with the age."""
    with pytest.raises(InferenceServerException, match="older") as caught:
        client.infer(served.model, [symbols_input("S00")], parameters={"as_of": "2019-01-06T21:00:00+00:00"})
    assert caught.value.status() == "409"


def test_a_deadline_that_passed_computes_nothing(served: HttpServed, client: Any) -> None:
    """A request whose time is over is 504 and is not counted as answered."""
    before = answered(client, served.model)
    status, answer, _ = served.infer(json_panel(GOOD), {"X-Request-Timeout-Ms": "0"})
    assert (status, "nothing was computed" in answer["error"]) == (504, True)
    with pytest.raises(InferenceServerException) as caught:
        # Triton's parameter, in microseconds.
        client.infer(served.model, [panel_input(GOOD)], timeout=1)
    assert caught.value.status() == "504"
    assert served.infer(json_panel(GOOD), {"X-Request-Timeout-Ms": "often"})[0] == 400
    assert answered(client, served.model) == before
    assert served.infer(json_panel(GOOD), {"X-Request-Timeout-Ms": "5000"})[0] == 200
    assert answered(client, served.model) == before + 1


def answered(client: Any, model: str) -> int:
    """How many requests the statistics say were answered by the champion."""
    found = client.get_inference_statistics(model, "1")["model_stats"][0]
    return int(found["inference_stats"]["success"]["count"])


def test_statistics_over_http(served: HttpServed, client: Any) -> None:
    """Counts and durations are Triton's: by request, by symbol, and by phase."""
    before = client.get_inference_statistics(served.model, "1")["model_stats"][0]
    client.infer(served.model, [panel_input(np.zeros((7, 2, 3), np.float32))])
    after = client.get_inference_statistics(served.model, "1")["model_stats"][0]
    assert int(after["inference_count"]) - int(before["inference_count"]) == 7
    assert int(after["execution_count"]) - int(before["execution_count"]) == 1
    success = after["inference_stats"]["success"]
    assert int(success["count"]) - int(before["inference_stats"]["success"]["count"]) == 1
    assert int(success["count"]) >= int(after["execution_count"]), "several may have shared a run"
    assert int(success["ns"]) >= int(after["inference_stats"]["compute_infer"]["ns"]) > 0
    everything = client.get_inference_statistics()["model_stats"]
    assert served.model in {one["name"] for one in everything}


def test_the_repository_over_http(served: HttpServed, client: Any) -> None:
    """A version is loaded, listed and unloaded; the champion stays."""

    def states() -> dict[str, str]:
        rows = client.get_model_repository_index()
        return {row["version"]: row["state"] for row in rows if row["name"] == served.model}

    status, _, _ = served.ask(
        f"/v2/repository/models/{served.model}/load", json.dumps({"parameters": {"version": "2"}}).encode()
    )
    assert (status, states()) == (200, {"1": "READY", "2": "READY"})
    path = f"/v2/repository/models/{served.model}/unload"
    assert served.ask(path, json.dumps({"parameters": {"version": "2"}}).encode())[0] == 200
    assert states() == {"1": "READY", "2": "UNAVAILABLE"}
    assert not client.is_model_ready(served.model, "2")
    with pytest.raises(InferenceServerException, match="has been unloaded"):
        client.infer(served.model, [panel_input(GOOD)], "2")
    with pytest.raises(InferenceServerException, match="needs version 1") as caught:
        client.unload_model(served.model)
    assert caught.value.status() == "409"
    client.load_model(served.model)
    assert served.ask(path, b'{"parameters": {"version": [1]}}')[0] == 400
    assert served.ask(path, b'{"parameters": {"version": "99"}}')[0] == 404
    body = json.dumps({"parameters": {"version": "2"}}).encode()
    assert served.ask(f"/v2/repository/models/{served.model}/load", body)[0] == 200
    assert client.is_model_ready(served.model, "2")


def test_a_client_that_goes_away_does_no_harm(served: HttpServed, client: Any) -> None:
    """Half a request, and then silence, costs the server nothing."""
    import socket

    host, port = served.url.split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as line:
            path = f"/v2/models/{served.model}/infer"
            line.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
            line.sendall(struct.pack("<I", 7))
    assert client.is_server_live()


def test_many_clients_at_once(served: HttpServed) -> None:
    """Eight clients at a time each get their own answers."""
    wrong: list[float] = []

    def ask(number: int) -> None:
        panel = np.full((1, 2, 3), number, np.float32)
        for _ in range(20):
            _, answer, _ = served.infer(json_panel(panel))
            if answer["outputs"][0]["data"] != [number * 6.0]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
