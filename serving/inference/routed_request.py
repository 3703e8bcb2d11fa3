"""One request on its way through the server: its arrival, its route, its inputs, and its scores.

It builds the response and the rows of the prediction log.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.clock import monotonic
from alphaloop.forecasts import Route
from serving.inference.model_cache import LoadedModel
from serving.inference.router import RoutingTable
from serving.inference.values import Scoring, ScoringInputs, VersionScores
from serving.log.prediction_log import PredictionRow
from serving.protocol.errors import DeadlineError
from serving.protocol.messages import InferenceRequest, InferenceResponse, Timing, VersionAnswer


def new_prediction_id() -> str:
    """Return a prediction id: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class RoutedKeys:
    """Route keys of one request that lead to one route, and the id of their prediction."""

    route: Route
    keys: tuple[str, ...]
    prediction_id: str = field(default_factory=new_prediction_id)


@dataclass(frozen=True, slots=True)
class ScoredKeys:
    """Scores that answer some route keys, and the inputs behind them.

    The inputs are those of an earlier request where the scores are stale.
    """

    group: RoutedKeys
    scores: VersionScores
    inputs: ScoringInputs


@dataclass(eq=False, slots=True)
class RoutedRequest:
    """Request from its arrival until its answer; `InferenceCore.prepare` routes it and reads its inputs.

    Parameters
    ----------
    request : InferenceRequest
        Request as the client sent it.
    arrived_at : float
        Time of arrival (`alphaloop.clock.monotonic`).
    remaining_seconds : float, optional
        Seconds from the arrival to the client's deadline; None without a deadline.
    traceparent : str, optional
        The client's trace (W3C Trace Context).

    Attributes
    ----------
    unbatched : bool
        Excluded from batching, because preparation or an earlier batch failed.
    started, read_seconds : float
        Start of the preparation, and the seconds that it took.
    target : LoadedModel or RoutingTable
        Version that the request names, or the table that routes it.
    table : RoutingTable, optional
        The model's table; None for a model without a rollout.
    groups : tuple of RoutedKeys
        Route keys by route.
    inputs : ScoringInputs
        Inputs of the requested symbols.
    scorings : dict of str to callable
        Scoring of each version that may answer or shadow, the champion first.
    batch_version : LoadedModel, optional
        Version that answers every key and may score this request in one run with others.
    scored : dict of str to VersionScores
        Scores so far, by version: each version is run once.
    """

    request: InferenceRequest
    arrived_at: float = field(default_factory=monotonic)
    remaining_seconds: float | None = None
    traceparent: str | None = None
    unbatched: bool = False
    started: float = 0.0
    read_seconds: float = 0.0
    target: LoadedModel | RoutingTable = field(init=False)
    table: RoutingTable | None = None
    groups: tuple[RoutedKeys, ...] = ()
    inputs: ScoringInputs = field(init=False)
    scorings: Mapping[str, Scoring] = field(default_factory=dict)
    batch_version: LoadedModel | None = None
    scored: dict[str, VersionScores] = field(default_factory=dict)

    @property
    def is_prepared(self) -> bool:
        """True if the request has its route and its inputs."""
        return bool(self.groups)

    @property
    def generation(self) -> int:
        """Generation of the rollout document; 0 without a document."""
        return self.table.document.generation if self.table else 0

    def seconds_overdue(self, now: float) -> float:
        """Return the seconds since its deadline passed; below 0 before it."""
        spent = now - self.arrived_at
        remaining, timeout = self.remaining_seconds, self.request.timeout
        limit = remaining if timeout is None else timeout if remaining is None else min(remaining, timeout)
        return -1.0 if limit is None else spent - limit

    def require_time(self, now: float) -> None:
        """Raise `DeadlineError` if the deadline has passed, unless a batch has scored the request."""
        overdue = self.seconds_overdue(now)
        if overdue >= 0 and not self.scored:
            raise DeadlineError(
                f"the deadline passed {overdue * 1e3:.0f} ms before the request's turn came; "
                "nothing was computed"
            )

    def version(self, number: str) -> LoadedModel | None:
        """Return the version of that number among those that may answer; None if it is not loaded."""
        target = self.target
        if isinstance(target, LoadedModel):
            return target
        return target.champion if number == target.document.champion else target.challenger

    def row(
        self,
        scored: VersionScores,
        route: Route,
        keys: tuple[str, ...],
        prediction_id: str,
        logged_at: datetime,
    ) -> PredictionRow:
        """Build the log row of one version's scores, for all of the route keys that share them.

        The features are copied: a row that kept a view of its panel would make each request read into memory
        outside every cache, at a twentieth of the request's time.
        """
        request, inputs = self.request, self.inputs
        return PredictionRow(
            prediction_id=prediction_id,
            logged_at=logged_at,
            as_of=request.as_of,
            feature_timestamp=inputs.feature_timestamp,
            model=request.model,
            version=scored.version,
            digest=scored.digest,
            route=route.value,
            route_keys=keys,
            symbols=inputs.symbols,
            scores=tuple(scored.scores.tolist()),
            statuses=scored.statuses,
            features=scored.panel[:, -1, :].copy(),
            input_hash=scored.input_hash,
            feature_set=scored.feature_set,
            snapshot=inputs.snapshot,
            generation=self.generation,
            latency_ms=scored.latency_ms,
            error=scored.error,
        )

    def response(self, answered: Sequence[ScoredKeys], errors: Mapping[str, str]) -> InferenceResponse:
        """Build the response from the scored keys, and from the reasons of the keys without scores."""
        model, id, keys = self.request.model, self.request.id, self.request.keys
        answers, reported = [], set[str]()
        for one in answered:
            # Metrics count a run once, also where it answers keys of two routes.
            symbols = 0 if one.scores.version in reported else one.scores.run_symbols
            reported.add(one.scores.version)
            timing = Timing(self.started, self.read_seconds, one.scores.run_seconds, symbols)
            answers.append(VersionAnswer(one.scores.scores, one.scores.statuses, self._lineage(one), timing))
        if len(keys) == 1:
            return InferenceResponse(model, id, tuple(answers), self.request.route_keys)
        index_of = {key: index for index, one in enumerate(answered) for key in one.group.keys}
        return InferenceResponse(
            model,
            id,
            tuple(answers),
            self.request.route_keys,
            answer_of=tuple(index_of.get(key, -1) for key in keys),
            errors=tuple(errors.get(key, "") for key in keys),
        )

    def _lineage(self, one: ScoredKeys) -> dict[str, str | int | bool]:
        scores, when = one.scores, one.inputs.feature_timestamp
        parameters: dict[str, str | int | bool] = {
            "prediction_id": one.group.prediction_id,
            "route": one.group.route.value,
            "version": scores.version,
            "digest": scores.digest,
            "feature_timestamp": when.isoformat() if when else "",
            "input_hash": scores.input_hash,
            "feature_set": scores.feature_set,
            "snapshot": one.inputs.snapshot,
            "generation": self.generation,
        }
        if scores.stale:
            parameters["stale"] = True
        if self.table is not None and self.table.stale:
            parameters["registry_away"] = True
        return parameters
