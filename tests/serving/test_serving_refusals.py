"""What a request holds that cannot be followed is refused with words, on both wires, whatever the bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient import http as triton_http
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.inference.core import InferenceCore
from serving.protocol.messages import InvalidRequestError, protobuf_messages
from serving.server.grpc.grpc_codec import decode_request

PANEL = {"name": "panel", "datatype": "FP32", "shape": [1, 2, 3], "data": [0.0] * 6}
LARGE = 10**400


@pytest.fixture(scope="module")
def served(world: Any, module_shelf: Any) -> Iterator[ProcessHost]:
    """One host for the tests of this module."""
    module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    settings = world.settings(model=module_shelf.name, http_port=free_port())
    with ProcessHost(settings, free_port()) as host:
        yield host


def ask(
    served: ProcessHost, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """The status of a POST, and what its JSON gives as `error`."""
    line = HTTPConnection(*served.http_url.split(":"), timeout=10)
    line.request("POST", path, body, headers or {})
    answer = line.getresponse()
    content = answer.read()
    line.close()
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(content).get("error", "")


def shaped(*shape: str) -> bytes:
    """A request whose shape has these numbers, which Python would not write."""
    numbers = ",".join(shape)
    return f'{{"inputs":[{{"name":"panel","datatype":"FP32","shape":[{numbers}],"data":[0.0]}}]}}'.encode()


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (
            json.dumps({"inputs": [PANEL], "parameters": {"timeout": LARGE}}).encode(),
            {},
            "whole number from 0",
        ),
        (
            json.dumps({"inputs": [PANEL], "parameters": {"min_generation": 2**63}}).encode(),
            {},
            "from 0 to 9223372036854775807",
        ),
        (shaped(*["1" + "0" * 2_000] * 3), {}, "whole numbers of at most 64 bits"),
        (shaped(*["9223372036854775807"] * 3), {}, "input 'panel' has 4 bytes"),
        (
            json.dumps({"inputs": [PANEL]}).encode(),
            {"Inference-Header-Content-Length": "0" * 4_990 + "100"},
            "Inference-Header-Content-Length is '000",
        ),
        (
            json.dumps({"inputs": [PANEL | {"name": "\ud800"}]}).encode(),
            {},
            "there is no input '\ud800'",
        ),
        (
            json.dumps({"inputs": [PANEL], "outputs": [{"name": "\ud800"}]}).encode(),
            {},
            "there is no output '\ud800'",
        ),
    ],
    ids=["timeout", "generation", "shape", "product", "header length", "input name", "output name"],
)
def test_what_no_number_or_text_can_hold_is_refused(
    served: ProcessHost, body: bytes, headers: dict[str, str], why: str, module_shelf: Any
) -> None:
    """Numbers beyond 64 bits and halves of surrogate pairs get 400 and the reason, as JSON."""
    status, error = ask(served, f"/v2/models/{module_shelf.name}/infer", body, headers)
    assert (status, why in error) == (400, True), error


def test_a_place_that_does_not_exist_is_refused_as_json(served: ProcessHost) -> None:
    """404 for an unknown path and 405 for the wrong method are JSON with `error`, as every refusal is."""
    assert ask(served, "/v3") == (404, "alphaloop has no POST /v3: Not Found")
    assert ask(served, "/v2/health/live") == (
        405,
        "alphaloop has no POST /v2/health/live: Method Not Allowed",
    )


def test_a_defect_is_told_as_json(
    served: ProcessHost, module_shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody thought of is a 500 with `error`, which names its kind and nothing else."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(InferenceCore, "can_answer_now", broken)
    body = json.dumps({"inputs": [PANEL]}).encode()
    status, error = ask(served, f"/v2/models/{module_shelf.name}/infer", body)
    assert (status, error) == (500, "alphaloop failed at this request (ZeroDivisionError)")


def test_a_number_beyond_64_bits_is_refused_over_grpc() -> None:
    """`uint64_param` can hold what no timeout is."""
    message = protobuf_messages().ModelInferRequest(model_name="m", raw_input_contents=[bytes(24)])
    message.inputs.add(name="panel", datatype="FP32", shape=[1, 2, 3])
    message.parameters["timeout"].uint64_param = 2**63
    with pytest.raises(InvalidRequestError, match="'timeout' is 9223372036854775808; it is a whole number"):
        decode_request(message)


def asked(library: Any, what: str) -> dict[str, Any]:
    """The inputs and outputs of a request that wants `what`, as the unmodified client writes them."""
    panel = library.InferInput("panel", [1, 2, 3], "FP32")
    if what == "input in shared memory":
        panel.set_shared_memory("region", 24)
    else:
        panel.set_data_from_numpy(np.zeros((1, 2, 3), np.float32))
    scores = library.InferRequestedOutput("scores", class_count=1 if what == "classes" else 0)
    if what == "output in shared memory":
        scores.set_shared_memory("region", 4)
    return {"inputs": [panel], "outputs": [scores]}


@pytest.mark.parametrize("library", [triton, triton_http], ids=["grpc", "http"])
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("classes", "'scores' has the parameter 'classification'"),
        ("input in shared memory", "'panel' has the parameter 'shared_memory_region'"),
        ("output in shared memory", "'scores' has the parameter 'shared_memory_region'"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(
    served: ProcessHost, module_shelf: Any, library: Any, what: str, why: str
) -> None:
    """Classes and shared memory are not left out in silence: UNIMPLEMENTED over gRPC, 501 over HTTP."""
    url = served.url if library is triton else served.http_url
    with library.InferenceServerClient(url) as client:
        with pytest.raises(InferenceServerException, match=why) as caught:
            client.infer(module_shelf.name, **asked(library, what))
        assert caught.value.status() in {"StatusCode.UNIMPLEMENTED", "501"}
        assert client.infer(module_shelf.name, **asked(library, "scores")).as_numpy("scores").tolist() == [
            0.0
        ]


def test_a_stream_refuses_what_is_not_offered_too(served: ProcessHost, module_shelf: Any) -> None:
    """In a stream the refusal carries the request's id."""
    message = protobuf_messages().ModelInferRequest(model_name=module_shelf.name, id="seven")
    message.inputs.add(name="panel", datatype="FP32", shape=[1, 2, 3])
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    with grpc.insecure_channel(served.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (answer,) = stub.ModelStreamInfer(iter([message]), timeout=5)
    assert "does not offer shared memory" in answer.error_message
    assert answer.infer_response.id == "seven"
