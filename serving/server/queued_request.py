"""Context of an arriving request, and its state in the queue."""

from __future__ import annotations

from dataclasses import dataclass

from serving.inference.routed_request import RoutedRequest
from serving.protocol.errors import DeadlineError
from serving.protocol.messages import InferenceRequest


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Context of a request: time of arrival, time left to its deadline, and trace.

    `arrived_at` is on `alphaloop.clock.monotonic`; `remaining_seconds` counts from then, None without a
    deadline.
    """

    arrived_at: float
    remaining_seconds: float | None = None
    traceparent: str | None = None


@dataclass(eq=False, slots=True)
class QueuedRequest:
    """Request in the queue; `routed` is set once another request's turn has prepared it.

    `unbatched`: exclude from batching because preparation or an earlier batch failed.
    """

    request: InferenceRequest
    context: RequestContext
    routed: RoutedRequest | None = None
    unbatched: bool = False

    @property
    def is_scored(self) -> bool:
        """True if the request has its scores."""
        return self.routed is not None and self.routed.inputs.precomputed is not None

    def seconds_overdue(self, now: float) -> float:
        """Return the seconds since its deadline passed; below 0 before it."""
        spent = now - self.context.arrived_at
        remaining, timeout = self.context.remaining_seconds, self.request.timeout
        limit = remaining if timeout is None else timeout if remaining is None else min(remaining, timeout)
        return -1.0 if limit is None else spent - limit

    def require_time(self, now: float) -> None:
        """Raise `DeadlineError` if the deadline has passed, unless a batch has scored the request."""
        overdue = self.seconds_overdue(now)
        if overdue >= 0 and not self.is_scored:
            raise DeadlineError(
                f"the deadline passed {overdue * 1e3:.0f} ms before the request's turn came; "
                "nothing was computed"
            )
