"""Arrivals: how a request came, and what has been done about it while it waits for its turn."""

from __future__ import annotations

from dataclasses import dataclass

from serving.inference.routed_request import Exchange
from serving.protocol.errors import DeadlineError
from serving.protocol.messages import InferenceRequest


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: when (`alphaloop.clock.monotonic`), with how many seconds left to its deadline
    then, and as part of which trace.
    """

    at: float
    remaining: float | None = None
    traceparent: str | None = None


@dataclass(eq=False, slots=True)
class Waiting:
    """A request that waits for its turn; `exchange` is there once another's turn has prepared it.

    `alone` says that it could not be prepared, or that a run with others has failed, for whose sake is not
    known.
    """

    request: InferenceRequest
    arrival: Arrival
    exchange: Exchange | None = None
    alone: bool = False

    @property
    def scored(self) -> bool:
        """Whether its scores are there."""
        return self.exchange is not None and self.exchange.inputs.ahead is not None

    def overdue(self, now: float) -> float:
        """How many seconds its deadline has passed by; below 0 while it has not."""
        spent = now - self.arrival.at
        left, timeout = self.arrival.remaining, self.request.timeout
        limit = left if timeout is None else timeout if left is None else min(left, timeout)
        return -1.0 if limit is None else spent - limit

    def require_time(self, now: float) -> None:
        """Raise `DeadlineError` where the deadline has passed, unless another's turn has scored it."""
        overdue = self.overdue(now)
        if overdue >= 0 and not self.scored:
            raise DeadlineError(
                f"the deadline passed {overdue * 1e3:.0f} ms before the request's turn came; "
                "nothing was computed"
            )
