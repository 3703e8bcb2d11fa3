"""Routed inference request with its inputs; builds the response and the log row."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.forecasts import Route
from serving.inference.model_cache import LoadedModel
from serving.inference.router import RoutingTable
from serving.inference.values import ScoringInputs, VersionScores
from serving.log.prediction_log import PredictionRow
from serving.protocol.messages import InferenceRequest, InferenceResponse, Timing


def new_prediction_id() -> str:
    """Return a prediction id: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def challenger_accepts(table: RoutingTable, inputs: ScoringInputs) -> bool:
    """Return whether the challenger, if loaded, can be scored on these inputs.

    A panel from a client has the champion's features and lookback, which the challenger may not share.
    """
    challenger, card = table.challenger, table.champion.card
    if challenger is None:
        return True
    if inputs.feature_set is not None:
        return inputs.full_universe is None or challenger.universe.can_score(inputs.symbols)
    symbols, rows = inputs.panel.shape[:2]
    if symbols > challenger.universe.max_panel_symbols:
        return False
    return challenger.card.lookback <= rows and challenger.card.feature_set == card.feature_set


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """Request with its inputs, its prediction id and the version or table that routes it.

    `target` is the version that the request names, or the table that gave its `route`; `table` is None for a
    model without a rollout. `started` is the start of processing (`alphaloop.clock.monotonic`),
    `read_seconds` the seconds from there until the inputs were read.
    """

    request: InferenceRequest
    inputs: ScoringInputs
    target: LoadedModel | RoutingTable
    table: RoutingTable | None
    route: Route
    started: float
    read_seconds: float
    prediction_id: str = field(default_factory=new_prediction_id)

    @property
    def generation(self) -> int:
        """Generation of the rollout document; 0 without a document."""
        return self.table.document.generation if self.table else 0

    @property
    def answering_version(self) -> LoadedModel | None:
        """Version that is to answer, if it is loaded."""
        if isinstance(self.target, LoadedModel):
            return self.target
        if self.route is Route.CANARY and challenger_accepts(self.target, self.inputs):
            return self.target.challenger
        return self.target.champion

    def row(
        self, scored: VersionScores, route: Route, logged_at: datetime, suffix: str = ""
    ) -> PredictionRow:
        """Build the log row of one version's scores.

        The features are copied: a row that kept a view of its panel would make each request read into memory
        outside every cache, at a twentieth of the request's time.
        """
        request, inputs = self.request, self.inputs
        return PredictionRow(
            prediction_id=self.prediction_id + suffix,
            logged_at=logged_at,
            as_of=request.as_of,
            feature_timestamp=inputs.feature_timestamp,
            model=request.model,
            version=scored.version,
            digest=scored.digest,
            route=route.value,
            route_key=request.route_key,
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

    def response(self, answer: VersionScores, route: Route, inference: float) -> InferenceResponse:
        """Build the response with its lineage; scoring took `inference` seconds."""
        when, ahead = self.inputs.feature_timestamp, self.inputs.precomputed
        parameters: dict[str, str | int | bool] = {
            "prediction_id": self.prediction_id,
            "route": route.value,
            "version": answer.version,
            "digest": answer.digest,
            "feature_timestamp": when.isoformat() if when else "",
            "input_hash": answer.input_hash,
            "feature_set": answer.feature_set,
            "snapshot": self.inputs.snapshot,
            "generation": self.generation,
        }
        if answer.stale:
            parameters["stale"] = True
        if self.table is not None and self.table.stale:
            parameters["registry_away"] = True
        if ahead is None:
            timing = Timing(self.started, self.read_seconds, inference, len(answer.scores))
        else:
            timing = Timing(self.started, self.read_seconds, inference + ahead.seconds, ahead.symbols)
        return InferenceResponse(
            model=self.request.model,
            version=answer.version,
            id=self.request.id,
            scores=answer.scores,
            statuses=answer.statuses,
            parameters=parameters,
            timing=timing,
        )
