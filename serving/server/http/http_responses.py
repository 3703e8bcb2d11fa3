"""HTTP responses: JSON, scores, and errors with their status.

Errors are JSON objects with `error`, as the protocol demands, whatever failed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alphaloop.errors import AlphaloopError
from serving.protocol.errors import OverloadedError
from serving.protocol.messages import SERVER_NAME, InferenceResponse
from serving.protocol.status import client_message, status_of
from serving.server.http.http_body import LateBodyError
from serving.server.http.http_codec import DecodedRequest, encode_infer, message_to_jsonable
from serving.server.http.http_compression import compress

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def error_response(error: AlphaloopError) -> Response:
    """Build the response to `error`, with the headers that belong to its status."""
    headers = {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
        headers["X-Retry-After-Ms"] = str(max(1, round(error.retry_after * 1e3)))
    if isinstance(error, LateBodyError):
        # Otherwise uvicorn would wait for the rest of the body.
        headers["Connection"] = "close"
    status = status_of(error).http
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response({"error": client_message(error)}, status, headers)


async def unknown_path_response(request: Request, error: Any) -> Response:
    """Build the response for an unknown path or method."""
    what = f"{request.method[:40]} {request.url.path[:200]}"
    return json_response(
        {"error": f"{SERVER_NAME} has no {what}: {error.detail}"}, error.status_code, error.headers
    )


async def internal_error_response(request: Request, error: Exception) -> Response:
    """Build the response for an unexpected error, which the server logs."""
    return json_response({"error": f"{SERVER_NAME} failed at this request ({type(error).__name__})"}, 500)


def message_response(message: Any) -> Response:
    """Encode a protobuf message as a JSON response."""
    return json_response(message_to_jsonable(message))


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Encode `content` as a JSON response, in ASCII.

    A client's name, repeated in an error, may hold what UTF-8 cannot encode.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return body_response(text.encode(), "application/json", headers or {}, status)


def body_response(body: bytes, kind: str, headers: dict[str, str], status: int = 200) -> Response:
    """Build a response with a body of media type `kind`."""
    from starlette.responses import Response

    return Response(body, status, headers, kind)


def inference_response(
    answer: InferenceResponse, decoded: DecodedRequest, headers: Mapping[str, str]
) -> Response:
    """Build the response to an inference, in an encoding that the client accepts."""
    body, length = encode_infer(answer, decoded)
    extra = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    body, encoding = compress(body, headers.get("accept-encoding", ""))
    if encoding is not None:
        extra["Content-Encoding"] = encoding
    return body_response(body, "application/json" if length is None else "application/octet-stream", extra)
