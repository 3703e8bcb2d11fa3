"""An exchange: one request, who is to answer it, what it is scored on, and what is answered and logged."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.forecasts import Route
from serving.inference.model_cache import LoadedModel
from serving.inference.router import RoutingTable
from serving.inference.values import Inputs, Scored
from serving.log.prediction_log import PredictionRow
from serving.protocol.messages import InferenceRequest, InferenceResponse, Timing


def new_id() -> str:
    """An id for a prediction: 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def suits_challenger(table: RoutingTable, inputs: Inputs) -> bool:
    """Whether the challenger, where it is loaded, can be scored on these inputs.

    A panel that a client sent has the champion's features, and its length.
    """
    challenger, card = table.challenger, table.champion.card
    if challenger is None:
        return True
    if inputs.feature_set is not None:
        return inputs.read is None or challenger.universe.holds(inputs.symbols)
    symbols, rows = inputs.panel.shape[:2]
    if symbols > challenger.universe.most_sent:
        return False
    return challenger.card.lookback <= rows and challenger.card.feature_set == card.feature_set


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request on its way to an answer: its inputs, its id, and the table that routes it.

    `by` is who answers it: the version that it names, or the table by which it has its `route`; `table` is
    None for a model that has no rollout. `begun` is when its turn came (`alphaloop.clock.monotonic`),
    `reading` how many seconds later its inputs were there.
    """

    request: InferenceRequest
    inputs: Inputs
    by: LoadedModel | RoutingTable
    table: RoutingTable | None
    route: Route
    begun: float
    reading: float
    prediction_id: str = field(default_factory=new_id)

    @property
    def generation(self) -> int:
        """The generation of the rollout document; 0 without one."""
        return self.table.document.generation if self.table else 0

    @property
    def answering(self) -> LoadedModel | None:
        """The version that is to answer, if it is loaded."""
        if isinstance(self.by, LoadedModel):
            return self.by
        if self.route is Route.CANARY and suits_challenger(self.by, self.inputs):
            return self.by.challenger
        return self.by.champion

    def row(self, scored: Scored, route: Route, logged_at: datetime, suffix: str = "") -> PredictionRow:
        """What the prediction log keeps of one version's scores.

        The features are copied: a row that held on to its panel would have each request read into memory
        that no cache knows, at a twentieth of the request's time.
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
            features=scored.seen[:, -1, :].copy(),
            input_hash=scored.input_hash,
            feature_set=scored.feature_set,
            snapshot=inputs.snapshot,
            generation=self.generation,
            latency_ms=scored.latency_ms,
            error=scored.error,
        )

    def response(self, answer: Scored, route: Route, inference: float) -> InferenceResponse:
        """The answer, with everything that lineage needs in its parameters; it took `inference` seconds."""
        when, ahead = self.inputs.feature_timestamp, self.inputs.ahead
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
            timing = Timing(self.begun, self.reading, inference, len(answer.scores))
        else:
            timing = Timing(self.begun, self.reading, inference + ahead.seconds, ahead.symbols)
        return InferenceResponse(
            model=self.request.model,
            version=answer.version,
            id=self.request.id,
            scores=answer.scores,
            statuses=answer.statuses,
            parameters=parameters,
            timing=timing,
        )
