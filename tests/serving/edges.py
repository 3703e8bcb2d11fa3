"""Both edges without a server: requests handed to the ASGI application and to the gRPC service themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from alphaloop.clock import monotonic
from serving.server.gateway import Gateway
from serving.server.grpc.grpc_edge import InferenceService
from serving.server.grpc.incoming_message import IncomingMessage
from serving.server.http.http_edge import http_application


@dataclass
class Context:
    """A call's context, which keeps what it is told."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailing: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing: tuple[tuple[str, str], ...]) -> None:
        self.trailing = trailing

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def time_remaining(self) -> float | None:
        return None


@dataclass
class Edges:
    """The edges over one core; what is asked at once runs on one event loop."""

    core: Any
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = Gateway(self.core, self.core.settings)
        self._application = http_application(self.gateway)
        self._service = InferenceService(self.core, self.gateway)

    def http(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (or bytes) and headers of one request."""
        return asyncio.run(self.http_async(path, body, headers, method))

    async def http_async(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any, dict[str, str]]:
        """The same on the loop that runs."""
        sent: list[dict[str, Any]] = []
        bodies = [{"type": "http.request", "body": body or b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            return bodies.pop() if bodies else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": method or ("GET" if body is None else "POST"),
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        await self._application(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        kind = found.get("content-type", "")
        return sent[0]["status"], json.loads(content) if "json" in kind and content else content, found

    def infer(self, content: bytes) -> tuple[grpc.StatusCode, str, Any]:
        """Status, details and answer to the bytes of a `ModelInferRequest`."""
        return asyncio.run(self.infer_async(content))

    async def infer_async(self, content: bytes) -> tuple[grpc.StatusCode, str, Any]:
        """The same on the loop that runs."""
        context = Context()
        received = IncomingMessage(len(content), content=content)
        answer = await self._service.infer(received, context, monotonic())
        return context.code, context.details, answer

    def call(self, method: str, request: Any) -> tuple[grpc.StatusCode, str, Any]:
        """Status, details and answer of another method of the service."""
        context = Context()
        answer = asyncio.run(getattr(self._service, method)(request, context))
        return context.code, context.details, answer

    def at_once(self, *asked: Callable[[], Awaitable[Any]]) -> list[Any]:
        """What these give, each begun in its turn on one loop."""

        async def gathered() -> list[Any]:
            return list(await asyncio.gather(*(one() for one in asked)))

        return asyncio.run(gathered())


def panel_message(model: str, panel: np.ndarray[Any, Any], version: str = "") -> Any:
    """A `ModelInferRequest` by tensor."""
    message = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    message.inputs.add(name="panel", datatype="FP32", shape=panel.shape)
    message.raw_input_contents.append(panel.astype("<f4").tobytes())
    return message


def json_panel(panel: np.ndarray[Any, Any], **more: Any) -> bytes:
    """A request by tensor as JSON, with nested lists."""
    tensor = {"name": "panel", "shape": list(panel.shape), "datatype": "FP32", "data": panel.tolist()}
    return json.dumps({"inputs": [tensor], **more}).encode()
