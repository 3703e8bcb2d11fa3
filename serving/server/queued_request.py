"""Context of an arriving request, and its state in the queue."""

from __future__ import annotations

from dataclasses import dataclass

from serving.inference.routed_request import Exchange
from serving.protocol.errors import DeadlineError
from serving.protocol.messages import InferenceRequest


@dataclass(frozen=True, slots=True)
class Arrival:
    """Context of a request: time of arrival, time left to its deadline, and trace.

    `at` is on `alphaloop.clock.monotonic`; `remaining` is in seconds from then, None without a deadline.
    """

    at: float
    remaining: float | None = None
    traceparent: str | None = None


@dataclass(eq=False, slots=True)
class Waiting:
    """Request in the queue; `exchange` is set once another request's turn has prepared it.

    `alone`: exclude from batching because preparation or an earlier batch failed.
    """

    request: InferenceRequest
    arrival: Arrival
    exchange: Exchange | None = None
    alone: bool = False

    @property
    def scored(self) -> bool:
        """True if the request has its scores."""
        return self.exchange is not None and self.exchange.inputs.ahead is not None

    def overdue(self, now: float) -> float:
        """Return the seconds since its deadline passed; below 0 before it."""
        spent = now - self.arrival.at
        left, timeout = self.arrival.remaining, self.request.timeout
        limit = left if timeout is None else timeout if left is None else min(left, timeout)
        return -1.0 if limit is None else spent - limit

    def require_time(self, now: float) -> None:
        """Raise `DeadlineError` if the deadline has passed, unless a batch has scored the request."""
        overdue = self.overdue(now)
        if overdue >= 0 and not self.scored:
            raise DeadlineError(
                f"the deadline passed {overdue * 1e3:.0f} ms before the request's turn came; "
                "nothing was computed"
            )
