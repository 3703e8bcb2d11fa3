"""gRPC status, HTTP status and metrics label of each error."""

from __future__ import annotations

from dataclasses import dataclass

from alphaloop.errors import (
    AlphaloopError,
    DamagedStoreError,
    FeatureSetMismatchError,
    MissingStateError,
    StaleFeaturesError,
    UnknownNameError,
    VendorError,
)
from serving.protocol.errors import (
    AccessDeniedError,
    DeadlineError,
    InUseError,
    NotOfferedError,
    OverloadedError,
    RateLimitError,
    RequestTooLargeError,
    UnauthenticatedError,
)
from serving.protocol.messages import InvalidRequestError


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """Status of an error on either wire.

    Parameters
    ----------
    grpc : str
        Name in `grpc.StatusCode`.
    http : int
        HTTP status code.
    reason : str
        Value of the metrics label `reason`.
    """

    grpc: str
    http: int
    reason: str


# Maximum length of an error message for a client: HTTP and gRPC headers must hold it.
MAX_MESSAGE_LENGTH = 1_000
# Maximum length of the error repeated while a circuit breaker is open; ONNX Runtime's may be pages long.
MAX_REASON_LENGTH = 300

INTERNAL_STATUS = ErrorStatus("INTERNAL", 500, "internal")

# The first class that matches counts. FAILED_PRECONDITION is 409 here and not 400: the request is right, and
# may succeed once the server's state has changed.
STATUS_TABLE: tuple[tuple[type[AlphaloopError], ErrorStatus], ...] = (
    (RequestTooLargeError, ErrorStatus("RESOURCE_EXHAUSTED", 413, "too_large")),
    (InvalidRequestError, ErrorStatus("INVALID_ARGUMENT", 400, "invalid")),
    (UnknownNameError, ErrorStatus("NOT_FOUND", 404, "unknown")),
    (StaleFeaturesError, ErrorStatus("FAILED_PRECONDITION", 409, "stale_features")),
    (FeatureSetMismatchError, ErrorStatus("FAILED_PRECONDITION", 409, "feature_set")),
    (MissingStateError, ErrorStatus("FAILED_PRECONDITION", 409, "missing_state")),
    (InUseError, ErrorStatus("FAILED_PRECONDITION", 409, "in_use")),
    (RateLimitError, ErrorStatus("RESOURCE_EXHAUSTED", 429, "rate_limit")),
    (OverloadedError, ErrorStatus("RESOURCE_EXHAUSTED", 429, "overloaded")),
    (DeadlineError, ErrorStatus("DEADLINE_EXCEEDED", 504, "deadline")),
    (UnauthenticatedError, ErrorStatus("UNAUTHENTICATED", 401, "unauthenticated")),
    (AccessDeniedError, ErrorStatus("PERMISSION_DENIED", 403, "denied")),
    (NotOfferedError, ErrorStatus("UNIMPLEMENTED", 501, "not_offered")),
    (DamagedStoreError, ErrorStatus("DATA_LOSS", 500, "damaged")),
    (VendorError, ErrorStatus("UNAVAILABLE", 503, "unavailable")),
)

REASONS = (*dict.fromkeys(failure.reason for _, failure in STATUS_TABLE), INTERNAL_STATUS.reason)


def status_of(error: AlphaloopError) -> ErrorStatus:
    """Return the status of `error` on either wire.

    Parameters
    ----------
    error : AlphaloopError
        Error of a request.

    Returns
    -------
    ErrorStatus
        Entry of the first class in the table that matches; `INTERNAL_STATUS` if none does.

    Examples
    --------
    >>> from serving.protocol.messages import InvalidRequestError
    >>> status_of(InvalidRequestError("no input")).http
    400
    """
    return next((failure for kind, failure in STATUS_TABLE if isinstance(error, kind)), INTERNAL_STATUS)


def client_message(error: AlphaloopError) -> str:
    """Return the error message for a client, short enough for an HTTP header."""
    return shorten(str(error), MAX_MESSAGE_LENGTH)


def shorten(text: str, most: int) -> str:
    """Return `text` cut to at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
