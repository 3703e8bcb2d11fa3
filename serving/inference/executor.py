"""Execution of routed requests: scores, fallbacks and the log.

A failed challenger is replaced by the champion, a failed champion by its cached scores. The answer goes
first; the other version's scores and the log follow later. Each version is run once for a request, however
many route keys lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from alphaloop.clock import Clock
from alphaloop.errors import ServingError
from alphaloop.forecasts import Route
from alphaloop.settings.serving import ServingSettings
from alphaloop.telemetry import tracing
from serving.inference.model_cache import LoadedModel
from serving.inference.routed_request import RoutedKeys, RoutedRequest, ScoredKeys
from serving.inference.router import RoutingTable
from serving.inference.values import VersionScores
from serving.inference.version_breaker import StaleScoreCache, VersionBreakers
from serving.log.prediction_log import PredictionLog
from serving.protocol.messages import InferenceResponse
from serving.protocol.status import MAX_REASON_LENGTH, shorten

Defer = Callable[[Callable[[], None]], object]


def run_inline(call: Callable[[], None]) -> None:
    """Run deferred work immediately."""
    call()


class PredictionExecutor:
    """Executor that scores routed requests behind circuit breakers and logs them in `log`."""

    def __init__(self, settings: ServingSettings, log: PredictionLog, clock: Clock) -> None:
        self.breakers = VersionBreakers(settings)
        self._last_good = StaleScoreCache(settings.last_good_seconds)
        self._log, self._clock = log, clock

    def score_together(self, routed_requests: Sequence[RoutedRequest]) -> bool:
        """Score the requests in one run of the version that is to answer them all.

        Returns False if the run gave no scores; the requests are then to be scored one by one.
        """
        version = routed_requests[0].batch_version
        if version is None:
            return False
        scored = self.breakers.score_together(version, [routed.inputs for routed in routed_requests])
        for routed, scores in zip(routed_requests, scored, strict=False):
            routed.scored[version.version] = scores
        return bool(scored)

    def answer(self, routed: RoutedRequest, defer: Defer) -> InferenceResponse:
        """Score one request and build its response; raise `ServingError` if no route key has scores."""
        with tracing.span("onnx"):
            scored = [self._score(routed, group) for group in routed.groups]
        good = [one for one in scored if one.scores.error is None]
        failed = [one for one in scored if one.scores.error is not None]
        stale, errors = self._stand_in(routed, failed) if failed else ([], {})
        answered = [*good, *stale]
        if not answered:
            raise ServingError(str(failed[0].scores.error))
        if good:
            defer(partial(self._finish, routed, good, bool(failed)))
        return routed.response(answered, errors)

    def _score(self, routed: RoutedRequest, group: RoutedKeys) -> ScoredKeys:
        """Score for route keys that lead to one route.

        The challenger answers only a canary's keys, and only if it does not fail; otherwise the champion
        answers, and its result may have an error.
        """
        target = routed.target
        if isinstance(target, LoadedModel):
            return ScoredKeys(group, self._run(routed, target.version), routed.inputs)
        challenger = target.document.challenger
        if group.route is Route.CANARY:
            if challenger is not None and challenger in routed.scorings:
                scores = self._run(routed, challenger)
                if scores.error is None:
                    return ScoredKeys(group, scores, routed.inputs)
            group = replace(group, route=Route.FALLBACK)
        return ScoredKeys(group, self._run(routed, target.document.champion), routed.inputs)

    def _run(self, routed: RoutedRequest, version: str) -> VersionScores:
        """Return the version's scores of a request; run it if it has not been run."""
        if version not in routed.scored:
            scoring, loaded = routed.scorings[version], routed.version(version)
            routed.scored[version] = (
                scoring() if loaded is None else self.breakers.score(loaded, routed.inputs, scoring)
            )
        return routed.scored[version]

    def _stand_in(
        self, routed: RoutedRequest, failed: Sequence[ScoredKeys]
    ) -> tuple[list[ScoredKeys], dict[str, str]]:
        """Answer the keys of a failed champion by its cached scores, or return the reason for each key."""
        scores = failed[0].scores
        reason = shorten(str(scores.error), MAX_REASON_LENGTH)
        errors = {key: reason for one in failed for key in one.group.keys}
        if isinstance(routed.target, LoadedModel):
            return [], errors
        group = replace(failed[0].group, route=Route.FALLBACK, keys=tuple(errors))
        self._record(routed, scores, replace(group, route=Route.CHAMPION))
        cached = self._last_good.get(routed.request.model, scores.version, routed.inputs)
        if cached is None:
            return [], errors
        return [ScoredKeys(group, cached.scores, cached.inputs)], {}

    def _finish(self, routed: RoutedRequest, answered: Sequence[ScoredKeys], champion_failed: bool) -> None:
        """Cache and log the answers, then score and log the versions that answered no key."""
        target = routed.target
        for one in answered:
            # Only the champion's scores may serve as a fallback: the challenger may be rolled back.
            if isinstance(target, RoutingTable) and one.scores.version == target.document.champion:
                self._last_good.put(routed.request.model, one.scores, routed.inputs)
            self._record(routed, one.scores, one.group)
        logged = {one.scores.version for one in answered}
        if champion_failed and isinstance(target, RoutingTable):
            logged.add(target.document.champion)
        shadows = [version for version in routed.scorings if version not in logged]
        shadow = RoutedKeys(Route.SHADOW, routed.request.keys, f"{routed.groups[0].prediction_id}/shadow")
        for version in shadows:
            with tracing.span("shadow"):
                scores = self._run(routed, version)
            self._record(routed, scores, shadow)

    def _record(self, routed: RoutedRequest, scored: VersionScores, group: RoutedKeys) -> None:
        self._log.put(routed.row(scored, group.route, group.keys, group.prediction_id, self._clock.now()))
