"""The gateway: what every edge does with a request before and after the core answers it.

Access, limits, deadline, order of computing, account and trace, in one place, so that gRPC and HTTP
differ only in how a request lies on the wire.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from alphaloop import telemetry
from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError
from alphaloop.settings import Settings
from serving.access import Access, Scope
from serving.admission import Admission
from serving.core import InferenceCore
from serving.failures import DeadlineError, failure_of
from serving.protocol import InferenceRequest, InferenceResponse
from serving.rate_limit import RateLimit
from serving.statistics import OTHER, Statistics


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: when (`alphaloop.clock.monotonic`), with how many seconds left to its deadline
    then, and as part of which trace.
    """

    at: float
    remaining: float | None = None
    traceparent: str | None = None


class Gateway:
    """The core behind its limits. Belongs to one event loop."""

    def __init__(self, core: InferenceCore, settings: Settings) -> None:
        self.core, self.settings = core, settings
        self.statistics = Statistics()
        serving = settings.serving
        self.admission = Admission(serving.max_in_flight)
        self.access = Access.from_settings(serving)
        self.limit = RateLimit(serving.rate_limit, serving.rate_burst) if serving.rate_limit else None
        # Whether a request's headers and peer matter at all; on loopback they usually do not.
        self.open = self.access is None and self.limit is None

    def authorise(self, token: str | None, peer: str, scope: Scope) -> None:
        """Raise unless the request may be answered now.

        `UnauthenticatedError`, `AccessDeniedError`, or `RateLimitError` for a client (by token, else by
        `peer`) that asks too often.
        """
        client = self.access.authorise(token, scope) if self.access is not None else peer
        if self.limit is not None:
            self.limit.spend(client)

    async def infer(self, request: InferenceRequest, arrival: Arrival) -> InferenceResponse:
        """Answer one request, and count the answer.

        Raises as `InferenceCore.infer` does, and `DeadlineError`; what is raised is for the edge to count
        (`failed`), which also knows of what never came so far.
        """
        await self.admission.turn()
        started = monotonic()
        self._require_time(request, arrival, started)
        if not self.core.at_hand(request):
            request = await asyncio.to_thread(self.core.fetch, request)
            self._require_time(request, arrival, monotonic())
        # What is called soon runs when the answer has been handed to the wire.
        later = asyncio.get_running_loop().call_soon
        if telemetry.enabled():
            with telemetry.span("ModelInfer", arrival.traceparent, _attributes(request), server=True):
                response = self.core.infer(request, arrival.at, later)
        else:
            response = self.core.infer(request, arrival.at, later)
        total = monotonic() - arrival.at
        later(self.statistics.succeeded, response, started - arrival.at, total)
        return response

    def failed(self, error: AlphaloopError, arrived: float, model: str = "", version: str = "") -> None:
        """Count a request that was not answered."""
        known = self.core.known(model)
        self.statistics.failed(
            model if known else OTHER,
            (version or known[0]) if known and (not version or version in known) else OTHER,
            failure_of(error).reason,
            monotonic() - arrived,
        )

    @staticmethod
    def _require_time(request: InferenceRequest, arrival: Arrival, now: float) -> None:
        spent = now - arrival.at
        for limit in (arrival.remaining, request.timeout):
            if limit is not None and spent >= limit:
                raise DeadlineError(
                    f"the deadline passed {(spent - limit) * 1e3:.0f} ms before the request's turn came; "
                    "nothing was computed"
                )


def _attributes(request: InferenceRequest) -> dict[str, str | int | float | bool]:
    return {
        "alphaloop.model": request.model,
        "alphaloop.version": request.version,
        "alphaloop.route_key": request.route_key,
        "alphaloop.symbols": request.size,
    }
