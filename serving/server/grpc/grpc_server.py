"""gRPC server of the process host: inference, health and reflection on one port.

Messages arrive as bytes and are parsed here, so that invalid messages get the right status, and a request is
counted when it has arrived, not when it is parsed: see `serving.server.admission`. A call whose message is
still arriving does not count: a client that never sends it occupies nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from alphaloop.clock import monotonic
from serving.protocol.messages import SERVICE, protobuf_messages
from serving.protocol.request_limits import LARGE_BYTES
from serving.server.gateway import Gateway
from serving.server.grpc.grpc_codec import malformed_message_error
from serving.server.grpc.grpc_edge import InferenceService
from serving.server.grpc.grpc_health import HealthService
from serving.server.grpc.incoming_message import IncomingMessage

METHOD_PREFIX = f"/{SERVICE}/"
INFER_PATH, STREAM_INFER_PATH = f"{METHOD_PREFIX}ModelInfer", f"{METHOD_PREFIX}ModelStreamInfer"
# No limit on answers; the limit on requests is a setting.
UNLIMITED = -1
# A client that vanished in the middle of a call would keep it open for ever, so connections are pinged.
PING_MS, PONG_MS = 60_000, 20_000


def make_grpc_server(gateway: Gateway, service: InferenceService) -> Any:
    """Build a server, without a port yet."""
    options = [
        # Without this a second server would share the port silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", gateway.settings.serving.max_request_bytes),
        ("grpc.max_send_message_length", UNLIMITED),
        ("grpc.keepalive_time_ms", PING_MS),
        ("grpc.http2.ping_timeout_ms", PONG_MS),
        # While a call is silent; by default gRPC sends only two pings then.
        ("grpc.http2.max_pings_without_data", 0),
    ]
    server = grpc.aio.server(options=options)
    add_handlers(server, gateway, service)
    return server


def add_handlers(server: Any, gateway: Gateway, service: InferenceService) -> None:
    """Add `service`, health and reflection to `server`."""
    server.add_generic_rpc_handlers((InferenceHandler(gateway, service),))
    healthy = HealthService(gateway.core, gateway.health, gateway.settings.serving.poll_seconds)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


class InferenceHandler(grpc.GenericRpcHandler):
    """Handler lookup that admits or refuses inference once the message has arrived as bytes."""

    def __init__(self, gateway: Gateway, service: InferenceService) -> None:
        self._gateway, self._service = gateway, service
        self._parse = protobuf_messages().ModelInferRequest.FromString
        self._methods = _methods(service)

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of one call; gRPC calls this in the call's own task."""
        method = handler_call_details.method
        if method != INFER_PATH:
            return self._methods.get(method)
        arrived, admission = monotonic(), self._gateway.admission
        call = asyncio.current_task()
        if call is None:
            raise RuntimeError("gRPC looks handlers up in the task of the call")
        admission.announce(call)
        # However the call ends: if its client goes away before the message came, it is never handled.
        call.add_done_callback(admission.arrive)
        return grpc.unary_unary_rpc_method_handler(partial(self._infer, arrived, call))

    async def _infer(self, arrived: float, call: asyncio.Task[Any], content: bytes, context: Any) -> bytes:
        admission = self._gateway.admission
        admission.arrive(call)
        if not admission.enter():
            self._service.refuse_arrival(context, arrived)
            return b""
        try:
            answer = await self._service.infer(_received(content, self._parse), context, arrived)
            return bytes(answer.SerializeToString())
        except DecodeError as error:
            return _malformed(context, error)
        finally:
            # Before the answer is sent: a client that does not read it occupies nothing.
            admission.leave()


def _methods(service: InferenceService) -> dict[str, Any]:
    """Return the handlers of all methods but `ModelInfer`, by path."""
    handlers: dict[str, Any] = {}
    described = protobuf_messages().DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in described.methods:
        parse = getattr(protobuf_messages(), method.input_type.name).FromString
        call = getattr(service, method.name)
        path = f"{METHOD_PREFIX}{method.name}"
        if path == STREAM_INFER_PATH:
            handlers[path] = grpc.stream_stream_rpc_method_handler(partial(_stream, service, parse))
        elif path != INFER_PATH:
            handlers[path] = grpc.unary_unary_rpc_method_handler(partial(_unary, call, parse))
    return handlers


def _received(content: bytes, parse: Callable[[bytes], Any]) -> IncomingMessage:
    """Wrap an arrived request; a large one is not parsed yet."""
    size = len(content)
    return (
        IncomingMessage(size, content=content)
        if size > LARGE_BYTES
        else IncomingMessage(size, parse(content))
    )


async def _unary(call: Any, parse: Callable[[bytes], Any], content: bytes, context: Any) -> bytes:
    if len(content) > LARGE_BYTES:
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details(
            f"the request has {len(content)} bytes, and at most {LARGE_BYTES}: it infers nothing"
        )
        return b""
    try:
        message = parse(content)
    except DecodeError as error:
        return _malformed(context, error)
    return bytes((await call(message, context)).SerializeToString())


async def _stream(
    service: InferenceService, parse: Callable[[bytes], Any], contents: AsyncIterator[bytes], context: Any
) -> AsyncIterator[bytes]:
    async for content in contents:
        try:
            received = _received(content, parse)
        except DecodeError as error:
            _malformed(context, error)
            return
        answer = await service.infer_streamed(received, context)
        yield bytes(answer.SerializeToString())


def _malformed(context: Any, error: DecodeError) -> bytes:
    context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
    context.set_details(str(malformed_message_error(error)))
    return b""
