"""Status of an error on either wire: gRPC, HTTP, and a reason for metrics."""

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
    """How a failure is told: a name of `grpc.StatusCode`, an HTTP status, and a word for metrics."""

    grpc: str
    http: int
    reason: str


MOST_CHARACTERS = 1_000


# As much of a failure as is said again of who is left alone for it: that of a graph's runtime may be pages.
MOST_TOLD = 300


INTERNAL = Failure("INTERNAL", 500, "internal")


# The first class that fits counts. FAILED_PRECONDITION is 409 here and not 400: the request is right, and
# may succeed once the state is another.
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
    """The statuses of `error`; `INTERNAL` for a kind that is not in the table."""
    return next((failure for kind, failure in TABLE if isinstance(error, kind)), INTERNAL)


def told(error: AlphaloopError) -> str:
    """What a client is told. Names are repeated in it, and a header has no room for a long one."""
    return shortened(str(error), MOST_CHARACTERS)


def shortened(text: str, most: int) -> str:
    """`text` in at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
