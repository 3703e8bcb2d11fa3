"""Execution of routed requests: scores, fallbacks and the log.

A failed challenger is replaced by the champion, a failed champion by its cached scores. The answer goes
first; the other version's scores and the log follow later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from alphaloop.clock import Clock, monotonic
from alphaloop.errors import ServingError
from alphaloop.forecasts import Route
from alphaloop.settings.serving import ServingSettings
from alphaloop.telemetry import tracing
from serving.inference.model_cache import LoadedModel
from serving.inference.routed_request import RoutedRequest, challenger_accepts
from serving.inference.router import RoutingTable
from serving.inference.scoring import unscored
from serving.inference.values import ScoringInputs, VersionScores
from serving.inference.version_breaker import StaleScoreCache, VersionBreakers
from serving.log.prediction_log import PredictionLog
from serving.protocol.messages import InferenceResponse

Defer = Callable[[Callable[[], None]], object]


def run_inline(call: Callable[[], None]) -> None:
    """Run deferred work immediately."""
    call()


class PredictionExecutor:
    """Executor that scores routed requests behind circuit breakers and logs them in `log`."""

    def __init__(self, settings: ServingSettings, log: PredictionLog, clock: Clock) -> None:
        self.breakers = VersionBreakers(settings)
        self._last_good = StaleScoreCache(settings.last_good_seconds)
        self._drills = settings.allow_drills
        self._log, self._clock = log, clock

    def score_together(self, routed_requests: Sequence[RoutedRequest]) -> list[RoutedRequest]:
        """Score the requests in one run of the version that is to answer them all.

        Returns the requests with precomputed scores; unchanged if the run gave none, to be scored one by one.
        """
        version = routed_requests[0].answering_version
        if version is None:
            return list(routed_requests)
        scored = self.breakers.score_together(version, [routed.inputs for routed in routed_requests])
        return [
            replace(routed, inputs=inputs) for routed, inputs in zip(routed_requests, scored, strict=True)
        ]

    def answer(self, routed: RoutedRequest, defer: Defer) -> InferenceResponse:
        """Score one request and build its response; raise `ServingError` if no version has scores."""
        began = monotonic()
        with tracing.span("onnx"):
            route, answer, shadow = self._score(routed)
        inference = monotonic() - began
        if answer.error is None:
            defer(partial(self._finish, routed, answer, route, shadow))
            return routed.response(answer, route, inference)
        if isinstance(routed.target, LoadedModel):
            raise ServingError(answer.error)
        self._record(routed, answer, Route.CHAMPION)
        champion = routed.target.document.champion
        good = self._last_good.get(routed.request.model, champion, routed.inputs)
        if good is None:
            raise ServingError(answer.error)
        # The earlier response already reported the timing and symbols of the run behind these scores.
        inputs = replace(good.inputs, precomputed=None)
        return replace(routed, inputs=inputs).response(good.scores, Route.FALLBACK, inference)

    def _score(
        self, routed: RoutedRequest
    ) -> tuple[Route, VersionScores, Callable[[], VersionScores | None] | None]:
        """Return the route, its scores, and a function for the other version's scores, or None.

        The challenger answers only a canary's request, and only if it does not fail; otherwise the champion
        answers, and its result may have an error.
        """
        inputs, table = routed.inputs, routed.target
        if isinstance(table, LoadedModel):
            return routed.route, self.breakers.score(table, inputs), None
        champion = partial(self.breakers.score, table.champion, inputs)
        if routed.route is not Route.CANARY:
            shadow = partial(self._challenge, table, inputs) if table.has_challenger else None
            return routed.route, champion(), shadow
        challenger = self._challenge(table, inputs)
        if challenger is None or challenger.error is not None:
            return Route.FALLBACK, champion(), lambda: challenger
        return Route.CANARY, challenger, champion

    def _challenge(self, table: RoutingTable, inputs: ScoringInputs) -> VersionScores | None:
        """Return the challenger's scores of a request; None if there is no challenger."""
        document = table.document
        if not table.has_challenger or document.challenger is None:
            return None
        if table.challenger is None:
            return unscored(document.challenger, table.challenger_error or "not loaded", inputs)
        if not challenger_accepts(table, inputs):
            # No failure of the challenger: it cannot be scored on these inputs.
            return None
        rotate = document.override.rotate_inputs if document.override and self._drills else 0
        return self.breakers.score(table.challenger, inputs, rotate)

    def _finish(
        self,
        routed: RoutedRequest,
        answer: VersionScores,
        route: Route,
        shadow: Callable[[], VersionScores | None] | None,
    ) -> None:
        """Cache and log the answer, then score and log the shadow."""
        # Only the champion's scores may serve as a fallback: the challenger may be rolled back.
        if isinstance(routed.target, RoutingTable) and answer.version == routed.target.document.champion:
            self._last_good.put(routed.request.model, answer, routed.inputs)
        self._record(routed, answer, route)
        if shadow is None:
            return
        with tracing.span("shadow"):
            scores = shadow()
        if scores is not None:
            self._record(routed, scores, Route.SHADOW, "/shadow")

    def _record(self, routed: RoutedRequest, scored: VersionScores, route: Route, suffix: str = "") -> None:
        self._log.put(routed.row(scored, route, self._clock.now(), suffix))
