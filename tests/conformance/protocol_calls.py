"""Calls of the Open Inference Protocol: by unmodified tritonclient, and what it would not send."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np
from tritonclient import grpc as triton
from tritonclient import http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

MODEL = "linear"
PANEL = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
GOOD_JSON = {
    "id": "seven",
    "inputs": [{"name": "panel", "shape": [2, 2, 3], "datatype": "FP32", "data": PANEL.ravel().tolist()}],
}


@dataclass(frozen=True)
class Target:
    """A server under test."""

    grpc_url: str
    http_url: str

    def grpc(self) -> Any:
        """An unmodified client."""
        return triton.InferenceServerClient(self.grpc_url)

    def http(self) -> Any:
        """An unmodified client."""
        return triton_http.InferenceServerClient(self.http_url)

    def message(self, message: Any) -> Any:
        """The answer to a message that tritonclient would not make."""
        with grpc.insecure_channel(self.grpc_url) as channel:
            return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=10)

    def json(self, path: str, content: Any = None) -> tuple[int, Any]:
        """Status and JSON of a bare request."""
        connection = HTTPConnection(*self.http_url.split(":"), timeout=10)
        body = None if content is None else json.dumps(content)
        headers = {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None


def panel(library: Any, values: np.ndarray[Any, Any] = PANEL, **options: Any) -> Any:
    """The input of a request."""
    made = library.InferInput("panel", list(values.shape), "FP32")
    made.set_data_from_numpy(values, **options)
    return made


def status(call: Callable[[], object]) -> str:
    """The status that a call fails with."""
    try:
        call()
    except InferenceServerException as error:
        return str(error.status()).removeprefix("StatusCode.")
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def in_grpc(ask: Callable[[Any], object]) -> Callable[[Target], object]:
    """A call by the gRPC client."""

    def call(target: Target) -> object:
        with target.grpc() as client:
            return ask(client)

    return call


def in_http(ask: Callable[[Any], object]) -> Callable[[Target], object]:
    """A call by the HTTP client."""

    def call(target: Target) -> object:
        with target.http() as client:
            return ask(client)

    return call


def infer_grpc(client: Any, **options: Any) -> Any:
    """A good request over gRPC."""
    return client.infer(MODEL, [panel(triton)], **options)


def requested(client: Any, name: str) -> list[str]:
    """The outputs that come where `name` is asked for."""
    result = infer_grpc(client, outputs=[triton.InferRequestedOutput(name)])
    return [output.name for output in result.get_response().outputs]


def infer_http(client: Any, binary: bool = True, **options: Any) -> Any:
    """A good request over HTTP."""
    return client.infer(MODEL, [panel(triton_http, binary_data=binary)], **options)


def raw_message(**changes: Any) -> Any:
    """A request in raw contents."""
    message = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[PANEL.tobytes()])
    message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def typed_message() -> Any:
    """A request in typed contents."""
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    tensor.contents.fp32_contents.extend(PANEL.ravel().tolist())
    return message


def short_message() -> Any:
    """A request whose content is shorter than its shape."""
    message = raw_message()
    message.raw_input_contents[0] = PANEL.tobytes()[:-4]
    return message


def both_message() -> Any:
    """A request with raw and typed contents."""
    message = typed_message()
    message.raw_input_contents.append(PANEL.tobytes())
    return message


def scores(message: Any) -> object:
    """The scores in a message's answer, in whichever encoding they come."""
    (output,) = [index for index, one in enumerate(message.outputs) if one.name == "scores"]
    if message.raw_output_contents:
        return np.frombuffer(message.raw_output_contents[output], "<f4").tolist()
    return list(message.outputs[output].contents.fp32_contents)


def streamed(target: Target) -> object:
    """The ids of a stream's answers, in their order; by the stub, whose calls end at their deadline."""
    with grpc.insecure_channel(target.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = stub.ModelStreamInfer(iter([raw_message(id=name) for name in "abc"]), timeout=5)
        try:
            return [answer.infer_response.id for answer in answers]
        except grpc.RpcError as error:
            return str(error.code().name)


def http_error(path: str, content: Any = None) -> Callable[[Target], object]:
    """Whether a bare request fails as the specification wants it."""

    def ask(target: Target) -> object:
        code, body = target.json(path, content)
        return f"{code // 100}xx with {'error' if isinstance(body, dict) and 'error' in body else 'no error'}"

    return ask
