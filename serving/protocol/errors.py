"""Errors of requests between a client and the core; their status is in `status`."""

from __future__ import annotations

from alphaloop.errors import (
    ServingError,
)
from serving.protocol.messages import InvalidRequestError


class OverloadedError(ServingError):
    """More requests are here than can be answered in time; ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitError(OverloadedError):
    """One client asks more often than it may; `retry_after` as in `OverloadedError`."""


class DeadlineError(ServingError):
    """The request's deadline had passed before anything was computed."""


class UnauthenticatedError(ServingError):
    """The request carries no token, or one that is not known."""


class AccessDeniedError(ServingError):
    """The token does not have the scope that this call needs."""


class RequestTooLargeError(InvalidRequestError):
    """The request has more bytes than `serving.max_request_bytes`."""


class NotOfferedError(ServingError):
    """A part of the protocol that this server does not have."""


class InUseError(ServingError):
    """The rollout needs what was to be unloaded."""
