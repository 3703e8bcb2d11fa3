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
class Failure:
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
MOST_CHARACTERS = 1_000
# Maximum length of the error repeated while a circuit breaker is open; ONNX Runtime's may be pages long.
MOST_TOLD = 300

INTERNAL = Failure("INTERNAL", 500, "internal")

# The first class that matches counts. FAILED_PRECONDITION is 409 here and not 400: the request is right, and
# may succeed once the server's state has changed.
TABLE: tuple[tuple[type[AlphaloopError], Failure], ...] = (
    (RequestTooLargeError, Failure("RESOURCE_EXHAUSTED", 413, "too_large")),
    (InvalidRequestError, Failure("INVALID_ARGUMENT", 400, "invalid")),
    (UnknownNameError, Failure("NOT_FOUND", 404, "unknown")),
    (StaleFeaturesError, Failure("FAILED_PRECONDITION", 409, "stale_features")),
    (FeatureSetMismatchError, Failure("FAILED_PRECONDITION", 409, "feature_set")),
    (MissingStateError, Failure("FAILED_PRECONDITION", 409, "missing_state")),
    (InUseError, Failure("FAILED_PRECONDITION", 409, "in_use")),
    (RateLimitError, Failure("RESOURCE_EXHAUSTED", 429, "rate_limit")),
    (OverloadedError, Failure("RESOURCE_EXHAUSTED", 429, "overloaded")),
    (DeadlineError, Failure("DEADLINE_EXCEEDED", 504, "deadline")),
    (UnauthenticatedError, Failure("UNAUTHENTICATED", 401, "unauthenticated")),
    (AccessDeniedError, Failure("PERMISSION_DENIED", 403, "denied")),
    (NotOfferedError, Failure("UNIMPLEMENTED", 501, "not_offered")),
    (DamagedStoreError, Failure("DATA_LOSS", 500, "damaged")),
    (VendorError, Failure("UNAVAILABLE", 503, "unavailable")),
)

REASONS = (*dict.fromkeys(failure.reason for _, failure in TABLE), INTERNAL.reason)


def failure_of(error: AlphaloopError) -> Failure:
    """Return the status of `error` on either wire.

    Parameters
    ----------
    error : AlphaloopError
        Error of a request.

    Returns
    -------
    Failure
        Entry of the first class in the table that matches; `INTERNAL` if none does.

    Examples
    --------
    >>> from serving.protocol.messages import InvalidRequestError
    >>> failure_of(InvalidRequestError("no input")).http
    400
    """
    return next((failure for kind, failure in TABLE if isinstance(error, kind)), INTERNAL)


def told(error: AlphaloopError) -> str:
    """Return the error message for a client, short enough for an HTTP header."""
    return shortened(str(error), MOST_CHARACTERS)


def shortened(text: str, most: int) -> str:
    """Return `text` cut to at most `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
