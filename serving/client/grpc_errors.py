"""Predicates over errors of gRPC calls."""

from __future__ import annotations

from typing import Any

# Failures of the connection, not of the server: to the server, a retry is the first attempt.
LOST = ("UNAVAILABLE", "CANCELLED")
# gRPC's messages for a stream that the peer broke off, under statuses that servers use as well.
BROKEN = ("RST_STREAM", "http2 header", "Stream removed", "Connection reset", "GOAWAY")

OVERLOADED, OVERDUE, UNKNOWN = "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNAUTHENTICATED"
UNREACHABLE = "UNAVAILABLE"
# gRPC's messages where no peer was reached, so that TLS cannot be the cause.
NOBODY = ("Failed to connect to remote host", "resolving", "resolution")

PUSHBACK = "grpc-retry-pushback-ms"


def is_lost(error: Any) -> bool:
    """Return whether `error` (a `grpc.RpcError`) says that the connection failed."""
    return error.code().name in LOST or any(word in (error.details() or "") for word in BROKEN)


def is_doubtful(error: Any) -> bool:
    """Return whether the connection failed although something may be listening.

    That suggests a TLS mismatch.
    """
    details = error.details() or ""
    return error.code().name == UNREACHABLE and not any(words in details for words in NOBODY)


def is_overdue(error: Any) -> bool:
    """Return whether the deadline passed before an answer came."""
    return bool(error.code().name == OVERDUE)


def is_unknown(error: Any) -> bool:
    """Return whether the server does not know the client's token."""
    return bool(error.code().name == UNKNOWN)


def pushback(error: Any) -> float | None:
    """Return the seconds after which an overloaded server accepts a retry.

    None if the error names no time.
    """
    if error.code().name != OVERLOADED:
        return None
    milliseconds = dict(error.trailing_metadata() or ()).get(PUSHBACK)
    return int(milliseconds) / 1e3 if milliseconds is not None and str(milliseconds).isdigit() else None
