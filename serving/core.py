"""The inference core: one request in, one answer out. Every edge and host uses this one.

It knows no transport and is not async: a forecast takes a fraction of a millisecond, less than handing
it to a thread would.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alphaloop.clock import Clock, SystemClock, monotonic
from alphaloop.errors import AlphaloopError, MissingStateError, ServingError, UnknownNameError
from alphaloop.prediction import Route
from alphaloop.rollout import sleeve_names
from alphaloop.settings import Settings
from serving.engine import Engine, LoadedModel
from serving.prediction_log import PredictionLog, PredictionRow
from serving.protocol import InferenceRequest, InferenceResponse, InvalidRequestError, ModelDescription
from serving.router import Router, RoutingTable
from serving.scoring import Inputs, Scored, arbitrate, score, unscored

if TYPE_CHECKING:
    from features.store import OnlineReader
    from models.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request on its way to an answer: its inputs, its id, and the table that routes it."""

    request: InferenceRequest
    inputs: Inputs
    table: RoutingTable | None
    prediction_id: str

    @property
    def generation(self) -> int:
        """The generation of the rollout document; 0 without one."""
        return self.table.document.generation if self.table else 0


class InferenceCore:
    """Answers requests by the rollout document, scores the second version beside, and logs both."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        reader: OnlineReader,
        prediction_log: PredictionLog,
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._registry, self._reader = settings, registry, reader
        self._log, self._clock = prediction_log, clock or SystemClock()
        self._engine = Engine(registry)
        sleeves = sleeve_names(settings.trading.sleeves)
        self._router = Router(registry, self._engine, sleeves, settings.serving.poll_seconds)

    def start(self) -> None:
        """Load the models that have a champion, then follow the registry and write the log."""
        self._log.start()
        self._router.start(self._settings.serving.model)
        try:
            # Opening the store takes seconds; the first request must not pay for it.
            self._reader.stored(("",))
        except AlphaloopError as error:
            log.warning("forecasts by symbols cannot be served yet: %s", error)

    def close(self) -> None:
        """Stop following the registry and write the rest of the log."""
        self._router.close()
        self._log.close()

    @property
    def ready(self) -> bool:
        """Whether the model of the settings has a champion that is loaded."""
        return self._router.known(self._settings.serving.model) is not None

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether the model, or that version of it, can answer. False for one that does not exist."""
        try:
            self._version(model, version)
        except (UnknownNameError, MissingStateError):
            return False
        return True

    def describe(self, model: str, version: str = "") -> ModelDescription:
        """Metadata of a model; raises `UnknownNameError`, or `MissingStateError` without a champion."""
        answering = self._version(model, version)
        versions = (version,) if version else tuple(self._registry.versions(model))
        return ModelDescription(model, versions, answering.card.lookback, answering.features)

    def at_hand(self, request: InferenceRequest) -> bool:
        """Whether `infer` can answer without reading the registry."""
        if request.version:
            return self._engine.holds(request.model, request.version)
        table = self._router.known(request.model)
        return table is not None and table.document.generation >= request.min_generation

    def fetch(self, request: InferenceRequest) -> InferenceRequest:
        """Read from the registry what `infer` needs; the request to ask it with. Raises as `infer` does."""
        if request.version:
            self._engine.load(request.model, request.version)
            return request
        self._router.table(request.model, request.min_generation)
        # Where the registry has nothing newer, `infer` need not look again.
        return replace(request, min_generation=0)

    def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Answer one request, and log the prediction and its shadow.

        Raises `UnknownNameError`, `MissingStateError` (no champion, no online store),
        `InvalidRequestError` (the inputs do not fit the model), `StaleFeaturesError`,
        `FeatureSetMismatchError`, `ServingError` (the version that must answer failed).
        """
        started = monotonic()
        if request.version:
            return self._infer_pinned(request, started)
        table = self._router.table(request.model, request.min_generation)
        second = [table.challenger] if table.has_challenger and table.challenger else []
        inputs = self._inputs(request, [table.champion, *second], started)
        route, answer, shadow = arbitrate(
            table.route(request.route_key), score(table.champion, inputs), self._challenge(table, inputs)
        )
        exchange = Exchange(request, inputs, table, uuid.uuid4().hex)
        self._record(exchange, answer, route)
        if shadow is not None:
            self._record(exchange, shadow, Route.SHADOW, "/shadow")
        return _respond(exchange, answer, route)

    def _infer_pinned(self, request: InferenceRequest, started: float) -> InferenceResponse:
        """Answer by the version that was asked for; only the champion's answer may carry capital."""
        loaded = self._version(request.model, request.version)
        table = self._router.known(request.model)
        inputs = self._inputs(request, [loaded], started)
        answer = score(loaded, inputs)
        if answer.error:
            raise ServingError(answer.error)
        is_champion = table is not None and table.document.champion == request.version
        route = Route.CHAMPION if is_champion else Route.SHADOW
        exchange = Exchange(request, inputs, table, uuid.uuid4().hex)
        self._record(exchange, answer, route)
        return _respond(exchange, answer, route)

    def _challenge(self, table: RoutingTable, inputs: Inputs) -> Scored | None:
        """The challenger's scores of a request; None where there is no challenger."""
        document = table.document
        if not table.has_challenger or document.challenger is None:
            return None
        if table.challenger is None:
            return unscored(document.challenger, table.challenger_error or "not loaded", inputs)
        drilled = document.override is not None and self._settings.serving.allow_drills
        rotate = document.override.rotate_inputs if document.override and drilled else 0
        return score(table.challenger, inputs, rotate)

    def _version(self, model: str, version: str) -> LoadedModel:
        return self._engine.load(model, version) if version else self._router.table(model).champion

    def _inputs(self, request: InferenceRequest, versions: list[LoadedModel], started: float) -> Inputs:
        """The inputs for all `versions`, of which the first must be able to answer."""
        first = versions[0]
        if request.panel is not None:
            expected = (first.card.lookback, first.features)
            if request.panel.shape[1:] != expected:
                raise InvalidRequestError(
                    f"input 'panel' has shape {list(request.panel.shape)}; {first.model} version "
                    f"{first.version} takes [symbols, {expected[0]}, {expected[1]}]"
                )
            return Inputs(request.panel, started, feature_timestamp=request.as_of)
        if request.symbols is None or request.as_of is None:
            raise InvalidRequestError("give the input 'panel', or 'symbols' with the parameter 'as_of'")
        lookback = max(version.card.lookback for version in versions)
        windows = self._reader.read(request.symbols, request.as_of, lookback)
        first.require_feature_set(windows.feature_set)
        return Inputs(
            panel=windows.panel,
            started=started,
            symbols=request.symbols,
            feature_timestamp=windows.feature_timestamp,
            feature_set=windows.feature_set,
            snapshot=windows.snapshot,
        )

    def _record(self, exchange: Exchange, scored: Scored, route: Route, suffix: str = "") -> None:
        request, inputs = exchange.request, exchange.inputs
        self._log.put(
            PredictionRow(
                prediction_id=exchange.prediction_id + suffix,
                logged_at=self._clock.now(),
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
                features=scored.seen[:, -1, :],
                input_hash=scored.input_hash,
                feature_set=scored.feature_set,
                snapshot=inputs.snapshot,
                generation=exchange.generation,
                latency_ms=scored.latency_ms,
                error=scored.error,
            )
        )


def _respond(exchange: Exchange, answer: Scored, route: Route) -> InferenceResponse:
    """The answer, with everything that lineage needs in its parameters."""
    when = exchange.inputs.feature_timestamp
    parameters: dict[str, str | int | bool] = {
        "prediction_id": exchange.prediction_id,
        "route": route.value,
        "version": answer.version,
        "digest": answer.digest,
        "feature_timestamp": when.isoformat() if when else "",
        "input_hash": answer.input_hash,
        "feature_set": answer.feature_set,
        "snapshot": exchange.inputs.snapshot,
        "generation": exchange.generation,
    }
    if exchange.table is not None and exchange.table.stale:
        parameters["registry_away"] = True
    return InferenceResponse(
        model=exchange.request.model,
        version=answer.version,
        id=exchange.request.id,
        scores=answer.scores,
        statuses=answer.statuses,
        parameters=parameters,
    )


def build(settings: Settings) -> InferenceCore:
    """The core on the registry, online store and prediction log of `settings`. Starts nothing."""
    from features.store import OnlineReader
    from models.registry import Registry

    return InferenceCore(
        settings,
        Registry(settings.paths.registry),
        OnlineReader.from_settings(settings),
        PredictionLog(settings.paths.prediction_log),
    )
