"""Predicates over errors of gRPC calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

# Failures of the way to the server, not of the server: who asks again asks for the first time.
LOST = ("UNAVAILABLE", "CANCELLED")


# gRPC's words for a stream that the other side broke off, under statuses that servers use as well.
BROKEN = ("RST_STREAM", "http2 header", "Stream removed", "Connection reset", "GOAWAY")


OVERLOADED, OVERDUE, UNKNOWN = "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNAUTHENTICATED"


UNREACHABLE = "UNAVAILABLE"


# gRPC's words where nobody was found with whom hands could have been shaken.
NOBODY = ("Failed to connect to remote host", "resolving", "resolution")


PUSHBACK = "grpc-retry-pushback-ms"


def is_lost(error: Any) -> bool:
    """Whether `error` (a `grpc.RpcError`) says that the way to the server failed."""
    return error.code().name in LOST or any(word in (error.details() or "") for word in BROKEN)


def is_doubtful(error: Any) -> bool:
    """Whether `error` says that a server was not reached that is there, perhaps: then it may be TLS."""
    details = error.details() or ""
    return error.code().name == UNREACHABLE and not any(words in details for words in NOBODY)


def is_overdue(error: Any) -> bool:
    """Whether `error` says that no answer came in time."""
    return bool(error.code().name == OVERDUE)


def is_unknown(error: Any) -> bool:
    """Whether `error` says that the server does not know the token."""
    return bool(error.code().name == UNKNOWN)


def pushback(error: Any) -> float | None:
    """Seconds after which an overloaded server wants to be asked again; None where it does not say so."""
    if error.code().name != OVERLOADED:
        return None
    told = dict(error.trailing_metadata() or ()).get(PUSHBACK)
    return int(told) / 1e3 if told is not None and str(told).isdigit() else None
