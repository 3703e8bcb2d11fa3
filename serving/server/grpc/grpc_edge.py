"""gRPC edge: the Open Inference Protocol's service over the gateway.

The methods are coroutines, so the same object serves `grpc.aio` and Ray Serve. A forecast is computed on the
event loop; methods that read the registry use a thread, because a blocked loop answers no client and no
health check. An error becomes a status on the context and an empty message, which gRPC then does not send.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

from tritonclient.grpc import service_pb2_grpc

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError
from alphaloop.telemetry import tracing
from serving.inference.core import InferenceCore
from serving.inference.model_repository import version_to_load, version_to_unload
from serving.inference.routed_request import RoutedRequest
from serving.protocol.errors import (
    PUSHBACK_KEY,
    NotOfferedError,
    OverloadedError,
    RequestTooLargeError,
)
from serving.protocol.messages import SERVER_NAME, InferenceRequest, InferenceResponse, protobuf_messages
from serving.protocol.request_limits import LARGE_BYTES
from serving.protocol.status import client_message, status_of
from serving.security.access import Scope
from serving.server.gateway import Gateway
from serving.server.grpc.grpc_codec import (
    decode_request,
    encode_config,
    encode_index,
    encode_metadata,
    encode_response,
    encode_server_metadata,
    encode_statistics,
    read_proto_parameters,
)
from serving.server.grpc.incoming_message import IncomingMessage

AUTHORIZATION = "authorization"
# Triton's parameter of the last answer to a request.
FINAL_RESPONSE_PARAMETER = "triton_final_response"
REGISTRY_AWAY = "alphaloop-registry-away"
# Makes the record of a decoded request, with its time of arrival, deadline and trace.
Arrive = Callable[[InferenceRequest], RoutedRequest]


class InferenceService:
    """Methods of the protocol's service; methods that are not offered answer UNIMPLEMENTED.

    Hosts look methods up by name. The parameter `grpc_context` has the name by which Ray Serve passes it; it
    needs `set_code` and `set_details`.
    """

    def __init__(self, core: InferenceCore, gateway: Gateway | None = None) -> None:
        self._core, self._messages = core, protobuf_messages()
        self.gateway = gateway or Gateway(core, core.settings)

    async def ServerLive(self, request: Any, grpc_context: Any) -> Any:
        """Answer that the process is alive."""
        return self._messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, grpc_context: Any) -> Any:
        """Answer whether the settings' model can answer, and the server does not drain.

        Trailing metadata say if the registry is away.
        """
        away = self._core.registry_away
        if away:
            grpc_context.set_trailing_metadata(((REGISTRY_AWAY, _header(away)),))
        return self._messages.ServerReadyResponse(ready=self._core.ready and not self.gateway.health.draining)

    async def ModelReady(self, request: Any, grpc_context: Any) -> Any:
        """Answer whether a model, or one version of it, can answer at once."""
        ready = self._core.model_ready(request.name, request.version)
        return self._messages.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: Any, grpc_context: Any) -> Any:
        """Answer with name, version and extensions of this server."""
        return encode_server_metadata()

    async def ModelMetadata(self, request: Any, grpc_context: Any) -> Any:
        """Answer with versions, inputs and outputs of a model."""

        async def answer() -> Any:
            return encode_metadata(
                await asyncio.to_thread(self._core.describe, request.name, request.version)
            )

        return await self._answer(grpc_context, Scope.PREDICT, answer)

    async def ModelConfig(self, request: Any, grpc_context: Any) -> Any:
        """Answer with Triton's configuration of a model."""

        async def answer() -> Any:
            return encode_config(await asyncio.to_thread(self._core.describe, request.name, request.version))

        return await self._answer(grpc_context, Scope.PREDICT, answer)

    async def ModelStatistics(self, request: Any, grpc_context: Any) -> Any:
        """Answer with counts and durations of a version, a model, or all."""

        async def answer() -> Any:
            versions = await asyncio.to_thread(self._core.served_versions, request.name, request.version)
            return encode_statistics(self.gateway.statistics.for_versions(versions))

        return await self._answer(grpc_context, Scope.PREDICT, answer)

    async def RepositoryIndex(self, request: Any, grpc_context: Any) -> Any:
        """Answer with every version of the registry and its state."""

        async def answer() -> Any:
            return encode_index(await asyncio.to_thread(self._core.repository.index, request.ready))

        return await self._answer(grpc_context, Scope.PREDICT, answer)

    async def RepositoryModelLoad(self, request: Any, grpc_context: Any) -> Any:
        """Load the version in the parameter `version`, by default the champion, and keep it."""

        async def answer() -> Any:
            version = version_to_load(read_proto_parameters(request.parameters))
            await asyncio.to_thread(self._core.repository.load, request.model_name, version)
            return self._messages.RepositoryModelLoadResponse()

        return await self._answer(grpc_context, Scope.ADMIN, answer)

    async def RepositoryModelUnload(self, request: Any, grpc_context: Any) -> Any:
        """Unload the version in the parameter `version`.

        By default, all versions that the rollout does not need are unloaded.
        """

        async def answer() -> Any:
            version = version_to_unload(read_proto_parameters(request.parameters))
            await asyncio.to_thread(self._core.repository.unload, request.model_name, version)
            return self._messages.RepositoryModelUnloadResponse()

        return await self._answer(grpc_context, Scope.ADMIN, answer)

    async def ModelInfer(self, request: Any, grpc_context: Any) -> Any:
        """Answer one request that the host has parsed already."""
        gateway = self.gateway
        arrived = monotonic()
        if not gateway.admission.enter():
            return self.refuse_arrival(grpc_context, arrived)
        try:
            return await self.infer(IncomingMessage(request.ByteSize(), request), grpc_context, arrived)
        finally:
            gateway.admission.leave()

    async def infer(self, received: IncomingMessage, grpc_context: Any, arrived: float) -> Any:
        """Answer one request that `Admission.enter` has let in at `arrived`."""
        try:
            return await self._infer(received, grpc_context, arrived)
        except AlphaloopError as error:
            self.gateway.count_failure(error, arrived, received.model, received.version)
            return _refuse(grpc_context, error, self._messages.ModelInferResponse())

    def refuse_arrival(self, grpc_context: Any, arrived: float) -> Any:
        """Refuse one request that `Admission.enter` has not let in."""
        error = self.gateway.admission.refusal()
        self.gateway.count_failure(error, arrived)
        return _refuse(grpc_context, error, self._messages.ModelInferResponse())

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], grpc_context: Any) -> AsyncIterator[Any]:
        """Answer a stream of requests in order. An error ends its request, not the stream."""
        async for request in requests:
            # Sent after the request was counted out: a client that reads no answers occupies nothing.
            yield await self.infer_streamed(IncomingMessage(request.ByteSize(), request), grpc_context)

    async def infer_streamed(self, received: IncomingMessage, grpc_context: Any) -> Any:
        """Answer one request of a stream."""
        arrived = monotonic()
        entered = self.gateway.admission.enter()
        try:
            if not entered:
                raise self.gateway.admission.refusal()
            answer = self._messages.ModelStreamInferResponse()
            answer.infer_response.CopyFrom(await self._infer(received, grpc_context, arrived))
            # Each request has one answer, which is its last (Triton's decoupled models may give several).
            answer.infer_response.parameters[FINAL_RESPONSE_PARAMETER].bool_param = True
            return answer
        except AlphaloopError as error:
            self.gateway.count_failure(error, arrived, received.model, received.version)
            answer = self._messages.ModelStreamInferResponse(error_message=client_message(error))
            answer.infer_response.id = received.id
            return answer
        finally:
            if entered:
                self.gateway.admission.leave()

    async def _infer(self, received: IncomingMessage, grpc_context: Any, arrived: float) -> Any:
        arrive = self._admit(grpc_context, arrived)
        limit = self.gateway.settings.serving.max_request_bytes
        if received.size > limit:
            raise RequestTooLargeError(
                f"the request has {received.size} bytes, and at most {limit} (serving.max_request_bytes)"
            )
        if received.size > LARGE_BYTES:
            return await self._infer_large(received, arrive)
        routed = arrive(decode_request(received.read()))
        return encode_response(await self.gateway.infer(routed), routed.request.outputs)

    async def _infer_large(self, received: IncomingMessage, arrive: Arrive) -> Any:
        work = self.gateway.large_bodies

        def answered() -> tuple[RoutedRequest, InferenceResponse, Any]:
            routed = arrive(decode_request(received.read()))
            response = self.gateway.infer_now(routed, work)
            return routed, response, encode_response(response, routed.request.outputs)

        with work.slot():
            routed, response, answer = await work.run(answered)
        self.gateway.count_answer(response, routed.arrived_at)
        return answer

    def _admit(self, grpc_context: Any, arrived: float) -> Arrive:
        """Return what makes a record of the decoded request; raise if its client may not send it."""
        gateway = self.gateway
        remaining = _remaining(grpc_context)
        if gateway.is_open and not tracing.tracing_enabled():
            return partial(RoutedRequest, arrived_at=arrived, remaining_seconds=remaining)
        headers = _headers(grpc_context)
        if not gateway.is_open:
            gateway.authorise(headers.get(AUTHORIZATION), _peer(grpc_context), Scope.PREDICT)
        return partial(
            RoutedRequest,
            arrived_at=arrived,
            remaining_seconds=remaining,
            traceparent=headers.get(tracing.TRACEPARENT),
        )

    async def _answer(self, grpc_context: Any, scope: Scope, answer: Callable[[], Awaitable[Any]]) -> Any:
        """Await `answer` for a client with `scope`; turn an error into a status."""
        arrived = monotonic()
        try:
            if not self.gateway.is_open:
                headers = _headers(grpc_context)
                self.gateway.authorise(headers.get(AUTHORIZATION), _peer(grpc_context), scope)
            with self.gateway.calls.slot():
                return await answer()
        except AlphaloopError as error:
            self.gateway.count_failure(error, arrived)
            return _refuse(grpc_context, error, self._messages.ServerLiveResponse())


def grpc_status_name(error: AlphaloopError) -> str:
    """Return the name of the gRPC status for `error`."""
    return status_of(error).grpc


def add_inference_service(service: Any, server: Any) -> None:
    """Register `service` on a gRPC server.

    Ray Serve's proxies and replicas call this by way of `serving.hosts.ingress`, which registers the protobuf
    messages in their processes too.
    """
    protobuf_messages()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)


def _refuse(grpc_context: Any, error: AlphaloopError, empty: Any) -> Any:
    import grpc

    grpc_context.set_code(grpc.StatusCode[grpc_status_name(error)])
    grpc_context.set_details(client_message(error))
    if isinstance(error, OverloadedError):
        grpc_context.set_trailing_metadata(((PUSHBACK_KEY, str(max(1, round(error.retry_after * 1e3)))),))
    return empty


def _remaining(grpc_context: Any) -> float | None:
    """Return the seconds to the deadline.

    None without a deadline, and on Ray Serve's own path, which does not pass deadlines on.
    """
    ask = getattr(grpc_context, "time_remaining", None)
    return None if ask is None else ask()


def _headers(grpc_context: Any) -> dict[str, str]:
    return {key: value for key, value in grpc_context.invocation_metadata() or () if isinstance(value, str)}


def _peer(grpc_context: Any) -> str:
    """Return the client's address in `ipv4:127.0.0.1:5000` without the port, which changes."""
    ask = getattr(grpc_context, "peer", None)
    address = "" if ask is None else unquote(str(ask()))
    return address.partition(":")[2].rpartition(":")[0].strip("[]") or address


def _header(text: str) -> str:
    """Return `text` as gRPC's metadata accept it: printable ASCII."""
    return "".join(one if " " <= one <= "~" else "?" for one in text)[:512]


def _unimplemented(name: str) -> Any:
    async def method(self: InferenceService, request: Any, grpc_context: Any) -> Any:
        error = NotOfferedError(f"{SERVER_NAME} does not offer {name}")
        return _refuse(grpc_context, error, self._messages.ServerLiveResponse())

    method.__name__ = name
    return method


for _name in vars(service_pb2_grpc.GRPCInferenceServiceServicer):
    if not _name.startswith("_") and not hasattr(InferenceService, _name):
        setattr(InferenceService, _name, _unimplemented(_name))
