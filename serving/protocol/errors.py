"""Errors of requests; `serving/protocol/status.py` has their gRPC and HTTP status."""

from __future__ import annotations

from alphaloop.errors import (
    ServingError,
)
from serving.protocol.messages import InvalidRequestError

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Metadata key that tells a client, and gRPC's own retries, how long to wait, in milliseconds."""


class OverloadedError(ServingError):
    """Server has more requests than it can answer in time.

    Parameters
    ----------
    message : str
        Message for the client.
    retry_after : float
        Seconds after which the client should send the request again.

    Examples
    --------
    >>> OverloadedError("64 requests are being answered", retry_after=0.5).retry_after
    0.5
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitError(OverloadedError):
    """Client exceeds its request rate; retry after `retry_after` seconds."""


class DeadlineError(ServingError):
    """Request's deadline had passed before anything was computed."""


class UnauthenticatedError(ServingError):
    """Request without a token, or with an unknown token."""


class AccessDeniedError(ServingError):
    """Token without the scope that the call needs."""


class RequestTooLargeError(InvalidRequestError):
    """Request with more bytes than `serving.max_request_bytes`."""


class NotOfferedError(ServingError):
    """Optional part of the protocol that this server does not implement."""


class InUseError(ServingError):
    """Version that cannot be unloaded because the rollout needs it."""
