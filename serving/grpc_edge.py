"""The gRPC edge: the Open Inference Protocol's service over the inference core.

The methods are coroutines, so the same object serves `grpc.aio` and Ray Serve. A forecast is made on
the event loop; what reads the registry goes to a thread, because while the loop is blocked no client is
answered and no health check either. An error of the core becomes a status on the context and an empty
message, which gRPC then does not send.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from tritonclient.grpc import service_pb2_grpc

from alphaloop.errors import (
    AlphaloopError,
    DamagedStoreError,
    FeatureSetMismatchError,
    MissingStateError,
    StaleFeaturesError,
    UnknownNameError,
)
from serving.core import InferenceCore
from serving.protocol import (
    InvalidRequestError,
    decode_request,
    encode_metadata,
    encode_response,
    messages,
)

SERVER_NAME = "alphaloop"

# Names of grpc.StatusCode; the first class that fits counts, INTERNAL where none does.
STATUS_BY_ERROR: tuple[tuple[type[AlphaloopError], str], ...] = (
    (InvalidRequestError, "INVALID_ARGUMENT"),
    (UnknownNameError, "NOT_FOUND"),
    (StaleFeaturesError, "FAILED_PRECONDITION"),
    (FeatureSetMismatchError, "FAILED_PRECONDITION"),
    (MissingStateError, "FAILED_PRECONDITION"),
    (DamagedStoreError, "DATA_LOSS"),
)


class InferenceService:
    """The methods that are offered; the protocol's others are answered by UNIMPLEMENTED.

    Hosts look methods up by name. The context's name is the one by which Ray Serve hands it over; it
    needs `set_code` and `set_details`.
    """

    def __init__(self, core: InferenceCore) -> None:
        self._core, self._messages = core, messages()

    async def ServerLive(self, request: Any, grpc_context: Any) -> Any:
        """That the process answers."""
        return self._messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, grpc_context: Any) -> Any:
        """Whether the model of the settings can answer."""
        return self._messages.ServerReadyResponse(ready=self._core.ready)

    async def ModelReady(self, request: Any, grpc_context: Any) -> Any:
        """Whether a model, or one version of it, can answer."""
        try:
            ready = await asyncio.to_thread(self._core.model_ready, request.name, request.version)
        except AlphaloopError as error:
            return _refuse(grpc_context, error, self._messages.ModelReadyResponse())
        return self._messages.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: Any, grpc_context: Any) -> Any:
        """Name and version of this server."""
        return self._messages.ServerMetadataResponse(name=SERVER_NAME, version=version(SERVER_NAME))

    async def ModelMetadata(self, request: Any, grpc_context: Any) -> Any:
        """Versions, inputs and outputs of a model."""
        try:
            described = await asyncio.to_thread(self._core.describe, request.name, request.version)
            return encode_metadata(described)
        except AlphaloopError as error:
            return _refuse(grpc_context, error, self._messages.ModelMetadataResponse())

    async def ModelInfer(self, request: Any, grpc_context: Any) -> Any:
        """Answer one request."""
        try:
            return await self._infer(request)
        except AlphaloopError as error:
            return _refuse(grpc_context, error, self._messages.ModelInferResponse())

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], grpc_context: Any) -> AsyncIterator[Any]:
        """Answer a stream of requests, in their order. An error ends its request, not the stream."""
        async for request in requests:
            try:
                yield self._messages.ModelStreamInferResponse(infer_response=await self._infer(request))
            except AlphaloopError as error:
                answer = self._messages.ModelStreamInferResponse(error_message=str(error))
                answer.infer_response.id = request.id
                yield answer

    async def _infer(self, message: Any) -> Any:
        request = decode_request(message)
        if not self._core.at_hand(request):
            request = await asyncio.to_thread(self._core.fetch, request)
        return encode_response(self._core.infer(request), request.outputs)


def status_name(error: AlphaloopError) -> str:
    """The name of the gRPC status that says what kind of failure `error` is."""
    return next((name for kind, name in STATUS_BY_ERROR if isinstance(error, kind)), "INTERNAL")


def add_service(service: Any, server: Any) -> None:
    """Register `service` on a gRPC server.

    Ray Serve imports this function by name in its proxies and replicas, which then know the messages.
    """
    messages()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)


def _refuse(grpc_context: Any, error: AlphaloopError, empty: Any) -> Any:
    import grpc

    grpc_context.set_code(grpc.StatusCode[status_name(error)])
    grpc_context.set_details(str(error))
    return empty


def _unimplemented(name: str) -> Any:
    async def method(self: InferenceService, request: Any, grpc_context: Any) -> Any:
        import grpc

        grpc_context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        grpc_context.set_details(f"{SERVER_NAME} does not offer {name}")
        return self._messages.ServerLiveResponse()

    method.__name__ = name
    return method


for _name in vars(service_pb2_grpc.GRPCInferenceServiceServicer):
    if not _name.startswith("_") and not hasattr(InferenceService, _name):
        setattr(InferenceService, _name, _unimplemented(_name))
