"""HTTP edge: the Open Inference Protocol's REST calls over the gateway, as an ASGI application.

`http_application(gateway)` is run by a server (uvicorn beside gRPC in the process host), on the event loop
that the gateway belongs to.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError
from alphaloop.telemetry import tracing
from serving.inference.model_repository import version_to_load, version_to_unload
from serving.inference.routed_request import RoutedRequest
from serving.protocol.errors import NotOfferedError, RequestTooLargeError
from serving.protocol.messages import (
    SERVER_NAME,
    InferenceRequest,
    InferenceResponse,
    InvalidRequestError,
    abbreviate,
)
from serving.protocol.request_limits import LARGE_BYTES
from serving.security.access import Scope
from serving.server.gateway import Gateway
from serving.server.grpc.grpc_codec import (
    encode_config,
    encode_index,
    encode_metadata,
    encode_server_metadata,
    encode_statistics,
)
from serving.server.http.http_body import BodyReader
from serving.server.http.http_codec import (
    decode_infer,
    message_to_jsonable,
    parse_object,
    read_json_parameters,
)
from serving.server.http.http_compression import decompress
from serving.server.http.http_responses import (
    error_response,
    inference_response,
    internal_error_response,
    json_response,
    message_response,
    unknown_path_response,
)
from serving.server.metrics import metrics_route

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

JSON_LENGTH_HEADER = "inference-header-content-length"
# Milliseconds after which the answer is of no use; the counterpart of a gRPC deadline.
TIMEOUT_HEADER = "x-request-timeout-ms"
Handler = Callable[["Request"], Awaitable["Response"]]
# Makes the record of a decoded request, with its time of arrival, deadline and trace.
Arrive = Callable[[InferenceRequest], RoutedRequest]
# Parts of Triton's own protocol that clients may call.
UNSUPPORTED_PATHS = ("systemsharedmemory", "cudasharedmemory", "trace", "logging")


def http_application(gateway: Gateway, metrics: bool = False) -> Starlette:
    """Build the ASGI application. Errors are JSON objects with `error`, as the protocol demands.

    With `metrics` it also has the page `/metrics`, for a host without a separate port for metrics.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    edge = HttpEdge(gateway)
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    of_a_model = (
        ("", "GET", edge.metadata),
        ("/ready", "GET", edge.model_ready),
        ("/config", "GET", edge.config),
        ("/stats", "GET", edge.statistics),
        ("/infer", "POST", edge.infer),
    )
    routes = [
        Route("/v2/health/live", edge.live),
        Route("/v2/health/ready", edge.ready),
        Route("/v2", edge.server_metadata),
        # With the final slash, as in the protocol's own OpenAPI file.
        Route("/v2/", edge.server_metadata),
        Route("/v2/models/stats", edge.statistics),
        Route("/v2/repository/index", edge.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", edge.load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", edge.unload, methods=["POST"]),
    ]
    for end, verb, call in of_a_model:
        routes += [Route(prefix + end, call, methods=[verb]) for prefix in (version, model)]
    for name in UNSUPPORTED_PATHS:
        routes.append(Route(f"/v2/{name}{{rest:path}}", edge.not_offered, methods=["GET", "POST"]))
    if metrics:
        routes.append(metrics_route(gateway))
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: unknown_path_response, Exception: internal_error_response},
    )
    # A redirect would lead to the host in the client's own header.
    app.router.redirect_slashes = False
    return app


class HttpEdge:
    """One method for each call, from Starlette's request to its response."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._core = gateway, gateway.core
        self._max_bytes = gateway.settings.serving.max_request_bytes
        self._bodies = BodyReader(self._max_bytes)

    async def live(self, request: Request) -> Response:
        """Answer that the process is alive."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer whether the settings' model can answer, with the rollout state of each model.

        A server that drains is not ready.
        """
        core = self._core
        models = {
            table.document.model: {
                "champion": table.document.champion,
                "state": table.document.state.value,
                "generation": table.document.generation,
                **({"registry_away": table.stale} if table.stale else {}),
                **({"challenger_error": table.challenger_error} if table.challenger_error else {}),
            }
            for table in core.tables
        }
        ready = core.ready and not self._gateway.health.draining
        body = {"live": True, "ready": ready, "registry": core.registry_away or "read", "models": models}
        return json_response(body, 200 if ready else 503)

    async def server_metadata(self, request: Request) -> Response:
        """Answer with name, version and extensions of this server."""
        return message_response(encode_server_metadata())

    async def model_ready(self, request: Request) -> Response:
        """Answer whether a model, or one version of it, can answer at once."""
        model, version = _named(request)
        ready = self._core.model_ready(model, version)
        return json_response({"name": model, "ready": ready}, 200 if ready else 400)

    async def metadata(self, request: Request) -> Response:
        """Answer with versions, inputs and outputs of a model."""

        async def answer() -> Response:
            return message_response(
                encode_metadata(await asyncio.to_thread(self._core.describe, *_named(request)))
            )

        return await self._answer(request, Scope.PREDICT, answer)

    async def config(self, request: Request) -> Response:
        """Answer with Triton's configuration of a model."""

        async def answer() -> Response:
            described = await asyncio.to_thread(self._core.describe, *_named(request))
            return message_response(encode_config(described).config)

        return await self._answer(request, Scope.PREDICT, answer)

    async def statistics(self, request: Request) -> Response:
        """Answer with counts and durations of a version, a model, or all."""

        async def answer() -> Response:
            versions = await asyncio.to_thread(self._core.served_versions, *_named(request))
            return message_response(encode_statistics(self._gateway.statistics.for_versions(versions)))

        return await self._answer(request, Scope.PREDICT, answer)

    async def index(self, request: Request) -> Response:
        """Answer with every version of the registry and its state."""

        async def answer() -> Response:
            ready = (await self._object(request, ("ready",))).get("ready")
            if ready is not None and not isinstance(ready, bool):
                raise InvalidRequestError(f"'ready' is {abbreviate(ready)}; it is true or false")
            entries = await asyncio.to_thread(self._core.repository.index, ready is True)
            return json_response(message_to_jsonable(encode_index(entries)).get("models", []))

        return await self._answer(request, Scope.PREDICT, answer)

    async def load(self, request: Request) -> Response:
        """Load the version in the parameter `version`, by default the champion, and keep it."""
        return await self._control(request, version_to_load, self._core.repository.load)

    async def unload(self, request: Request) -> Response:
        """Unload the version in the parameter `version`.

        By default, all versions that the rollout does not need are unloaded.
        """
        return await self._control(request, version_to_unload, self._core.repository.unload)

    async def infer(self, request: Request) -> Response:
        """Answer one inference request."""
        arrived, entered = monotonic(), False
        try:
            remaining = self._check_headers(request)
            # Read before it is counted: a client that does not finish sending occupies nothing.
            body = await self._bodies.read(request, remaining)
            entered = self._gateway.admission.enter()
            if not entered:
                raise self._gateway.admission.refusal()
            arrive = partial(
                RoutedRequest,
                arrived_at=arrived,
                remaining_seconds=remaining,
                traceparent=request.headers.get(tracing.TRACEPARENT),
            )
            return await self._infer(request, body, arrive)
        except AlphaloopError as error:
            self._gateway.count_failure(error, arrived, *_named(request))
            return error_response(error)
        finally:
            if entered:
                self._gateway.admission.leave()

    async def not_offered(self, request: Request) -> Response:
        """Refuse Triton's shared memory, trace and log settings."""
        return error_response(NotOfferedError(f"{SERVER_NAME} does not offer {request.url.path[:200]}"))

    def _check_headers(self, request: Request) -> float | None:
        """Return the seconds to the deadline in the header.

        Raises if the request must be refused already: too many requests, or a client without access.
        """
        if self._gateway.admission.is_full:
            raise self._gateway.admission.refusal()
        if not self._gateway.is_open:
            self._gateway.authorise(request.headers.get("authorization"), _peer(request), Scope.PREDICT)
        return _remaining(request.headers)

    async def _infer(self, request: Request, body: bytes, arrive: Arrive) -> Response:
        headers, named = request.headers, _named(request)
        try:
            content = decompress(body, headers.get("content-encoding", ""), min(LARGE_BYTES, self._max_bytes))
        except RequestTooLargeError:
            return await self._infer_large(headers, named, body, arrive)
        decoded = decode_infer(content, headers.get(JSON_LENGTH_HEADER), *named)
        answer = await self._gateway.infer(arrive(decoded.request))
        return inference_response(answer, decoded, headers)

    async def _infer_large(
        self, headers: Mapping[str, str], named: tuple[str, str], body: bytes, arrive: Arrive
    ) -> Response:
        work = self._gateway.large_bodies

        def answered() -> tuple[RoutedRequest, InferenceResponse, Response]:
            content = decompress(body, headers.get("content-encoding", ""), self._max_bytes)
            decoded = decode_infer(content, headers.get(JSON_LENGTH_HEADER), *named)
            routed = arrive(decoded.request)
            answer = self._gateway.infer_now(routed, work)
            return routed, answer, inference_response(answer, decoded, headers)

        with work.slot():
            routed, answer, encoded = await work.run(answered)
        self._gateway.count_answer(answer, routed.arrived_at)
        return encoded

    async def _control(
        self,
        request: Request,
        version_of: Callable[[Mapping[str, Any]], str],
        change: Callable[[str, str], Any],
    ) -> Response:
        async def answer() -> Response:
            body = await self._object(request, ("parameters",))
            version = version_of(read_json_parameters(body))
            await asyncio.to_thread(change, _named(request)[0], version)
            return json_response({})

        return await self._answer(request, Scope.ADMIN, answer)

    async def _answer(
        self, request: Request, scope: Scope, answer: Callable[[], Awaitable[Response]]
    ) -> Response:
        arrived = monotonic()
        try:
            if not self._gateway.is_open:
                self._gateway.authorise(request.headers.get("authorization"), _peer(request), scope)
            with self._gateway.calls.slot():
                return await answer()
        except AlphaloopError as error:
            self._gateway.count_failure(error, arrived)
            return error_response(error)

    async def _object(self, request: Request, known: tuple[str, ...]) -> dict[str, Any]:
        """Parse the JSON object of a small body.

        Raises `InvalidRequestError` for a name that is not in `known`.
        """
        body = await self._bodies.read(request)
        encoding = request.headers.get("content-encoding", "")
        content = parse_object(decompress(body, encoding, LARGE_BYTES, "of a call that is no inference"))
        for name in content:
            if name not in known:
                raise InvalidRequestError(
                    f"there is no '{name[:64]}' in this call; known: {', '.join(known)}"
                )
        return content


def _named(request: Request) -> tuple[str, str]:
    """Return model and version from the path, empty if missing."""
    return request.path_params.get("model", ""), request.path_params.get("version", "")


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _remaining(headers: Mapping[str, str]) -> float | None:
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    try:
        seconds = float(text) / 1e3
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidRequestError(
            f"the header {TIMEOUT_HEADER} is {text[:40]!r}; it is a number of milliseconds"
        )
    return seconds
