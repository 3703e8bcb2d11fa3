"""Gateway: access, limits, deadlines, order, statistics and traces of requests, for every edge.

With all this in one place, the gRPC and HTTP edges differ only in their wire formats.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError, ServingError
from alphaloop.settings.settings import Settings
from alphaloop.telemetry import tracing
from serving.inference.core import InferenceCore
from serving.inference.routed_request import RoutedRequest
from serving.protocol.messages import InferenceResponse
from serving.protocol.request_limits import LARGE_SYMBOLS
from serving.protocol.status import status_of
from serving.security.access import AccessTokens, Scope
from serving.server.admission import Admission
from serving.server.batching import MicroBatcher
from serving.server.health_pages import ServerHealth
from serving.server.large_requests import MAX_CALLS, ConcurrencyLimit, LargeRequestThread
from serving.server.request_statistics import OTHER, RequestStatistics
from serving.server.token_bucket import RateLimiter


class Gateway:
    """Inference core behind access control and limits. Belongs to one event loop."""

    def __init__(self, core: InferenceCore, settings: Settings) -> None:
        self.core, self.settings = core, settings
        self.health = ServerHealth(core, settings.serving.model)
        self.statistics = RequestStatistics()
        serving = settings.serving
        self.admission = Admission(serving.max_in_flight)
        self.batching = MicroBatcher(core, serving.batch_symbols)
        # Separate threads: a forecast for thousands of symbols does not wait for large panels.
        self.large_bodies, self._large_forecasts = (
            LargeRequestThread("large-bodies"),
            LargeRequestThread("large-forecasts"),
        )
        self.calls = ConcurrencyLimit(MAX_CALLS, "calls that infer nothing")
        self.access = AccessTokens.from_settings(serving)
        self.limit = RateLimiter(serving.rate_limit, serving.rate_burst) if serving.rate_limit else None
        # Without access control and rate limit, as usual on loopback, headers and peer are not read.
        self.is_open = self.access is None and self.limit is None

    def authorise(self, token: str | None, peer: str, scope: Scope) -> None:
        """Raise unless the client may send this request now.

        Raises `UnauthenticatedError`, `AccessDeniedError`, or `RateLimitError` for a client (by token, else
        by `peer`) that exceeds its rate.
        """
        client = self.access.authorise(token, scope) if self.access is not None else peer
        if self.limit is not None:
            self.limit.spend(client)

    async def infer(self, routed: RoutedRequest) -> InferenceResponse:
        """Answer one request, and count the answer.

        Raises as `InferenceCore.infer` does, and `DeadlineError`. The edge counts errors (`count_failure`),
        because it also knows of requests that never came this far.
        """
        if self.core.count_symbols(routed.request) > LARGE_SYMBOLS:
            work = self._large_forecasts
            response = await work.run(partial(self.infer_now, routed, work))
            self.count_answer(response, routed.arrived_at)
            return response
        await self.admission.wait_turn(routed)
        routed.require_time(monotonic())
        if not self.core.can_answer_now(routed.request):
            routed.request = await asyncio.to_thread(self.core.load_for, routed.request)
            routed.require_time(monotonic())
        # Callbacks scheduled now run after the answer has been handed to the wire.
        defer = asyncio.get_running_loop().call_soon
        if tracing.tracing_enabled():
            # Not batched, so that its spans are its own.
            with _span(routed):
                response = self.core.answer(self.core.prepare(routed), defer)
        else:
            response = self.core.answer(self._prepared(routed), defer)
        defer(self.count_answer, response, routed.arrived_at, monotonic())
        return response

    def infer_now(self, routed: RoutedRequest, work: LargeRequestThread) -> InferenceResponse:
        """Answer a large request in the thread of `work`; raises as `infer` does.

        The event loop counts the answer (`count_answer`).
        """
        routed.require_time(monotonic())
        if not self.core.can_answer_now(routed.request):
            routed.request = self.core.load_for(routed.request)
            routed.require_time(monotonic())
        with _span(routed):
            return self.core.answer(self.core.prepare(routed), work.defer)

    def count_answer(
        self, response: InferenceResponse, arrived: float, answered: float | None = None
    ) -> None:
        """Count the answers to a request that came at `arrived`, and its failure for some route keys.

        `answered` is the time of the answer, now by default; both are on `alphaloop.clock.monotonic`.
        """
        self.statistics.succeeded(response, arrived, (answered or monotonic()) - arrived)
        failure = next(filter(None, response.errors), None)
        if failure is not None:
            self.count_failure(ServingError(failure), arrived, response.model)

    def _prepared(self, routed: RoutedRequest) -> RoutedRequest:
        """Prepare a request and, if possible, score it in a batch.

        The batch is made of other requests in the queue.
        """
        self.core.prepare(routed)
        if not routed.unbatched and self.admission.queue and not routed.scored:
            for batched in self.batching.gather(routed, self.admission.queued()):
                self.admission.admit_now(batched)
        return routed

    def count_failure(
        self, error: AlphaloopError, arrived: float, model: str = "", version: str = ""
    ) -> None:
        """Count a request that was not answered."""
        versions = self.core.rollout_versions(model)
        self.statistics.failed(
            model if versions else OTHER,
            (version or versions[0]) if versions and (not version or version in versions) else OTHER,
            status_of(error).reason,
            monotonic() - arrived,
        )


def _span(routed: RoutedRequest) -> AbstractContextManager[Any]:
    request = routed.request
    attributes: dict[str, str | int | float | bool] = {
        "alphaloop.model": request.model,
        "alphaloop.version": request.version,
        "alphaloop.route_key": request.keys[0],
        "alphaloop.route_keys": len(request.keys),
        "alphaloop.symbols": request.size,
    }
    return tracing.span("ModelInfer", routed.traceparent, attributes, server=True)
