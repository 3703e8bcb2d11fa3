"""Predicates over errors of gRPC calls."""

from __future__ import annotations

from typing import Any

from serving.protocol.errors import PUSHBACK_KEY

# Failures of the connection, not of the server: to the server, a retry is the first attempt.
CONNECTION_ERRORS = ("UNAVAILABLE", "CANCELLED")
# gRPC's messages for a stream that the peer broke off, under statuses that servers use as well.
BROKEN_STREAM_TEXTS = ("RST_STREAM", "http2 header", "Stream removed", "Connection reset", "GOAWAY")

RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAUTHENTICATED = (
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "UNAUTHENTICATED",
)
UNAVAILABLE = "UNAVAILABLE"
# gRPC's messages where no peer was reached, so that TLS cannot be the cause.
NO_PEER_TEXTS = ("Failed to connect to remote host", "resolving", "resolution")


def is_connection_error(error: Any) -> bool:
    """Return whether `error` (a `grpc.RpcError`) says that the connection failed."""
    return error.code().name in CONNECTION_ERRORS or any(
        word in (error.details() or "") for word in BROKEN_STREAM_TEXTS
    )


def may_be_tls_mismatch(error: Any) -> bool:
    """Return whether the connection failed although something may be listening.

    That suggests a TLS mismatch.
    """
    details = error.details() or ""
    return error.code().name == UNAVAILABLE and not any(words in details for words in NO_PEER_TEXTS)


def is_deadline_exceeded(error: Any) -> bool:
    """Return whether the deadline passed before an answer came."""
    return bool(error.code().name == DEADLINE_EXCEEDED)


def is_unauthenticated(error: Any) -> bool:
    """Return whether the server does not know the client's token."""
    return bool(error.code().name == UNAUTHENTICATED)


def pushback_seconds(error: Any) -> float | None:
    """Return the seconds after which an overloaded server accepts a retry.

    None if the error names no time.
    """
    if error.code().name != RESOURCE_EXHAUSTED:
        return None
    milliseconds = dict(error.trailing_metadata() or ()).get(PUSHBACK_KEY)
    return int(milliseconds) / 1e3 if milliseconds is not None and str(milliseconds).isdigit() else None
