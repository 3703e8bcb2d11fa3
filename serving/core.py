"""The inference core: one request in, one answer out. Every edge and host uses this one.

It knows no transport and is not async: a forecast takes a fraction of a millisecond, less than handing
it to a thread would.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from alphaloop import telemetry
from alphaloop.clock import Clock, SystemClock, monotonic
from alphaloop.errors import (
    AlphaloopError,
    MissingStateError,
    ServingError,
    UnknownNameError,
)
from alphaloop.prediction import Route
from alphaloop.rollout import sleeve_names
from alphaloop.settings import Settings
from serving.breaker import LastGood, VersionBreakers
from serving.engine import Engine, LoadedModel
from serving.exchange import Exchange
from serving.inputs import InputReader
from serving.log_compaction import LogKeeper
from serving.prediction_log import PredictionLog
from serving.protocol import (
    SERVER_NAME,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    Timing,
)
from serving.repository import Repository, require_number
from serving.router import Router, RoutingTable
from serving.scoring import Inputs, Scored, unscored

if TYPE_CHECKING:
    from features.store import OnlineReader
    from models.registry import Registry

log = logging.getLogger(__name__)

Later = Callable[[Callable[[], None]], object]


def at_once(call: Callable[[], None]) -> None:
    """Do now what could wait until the answer is on its way."""
    call()


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
        self._settings, self._registry = settings, registry
        self._inputs = InputReader(reader)
        self._log, self._clock = prediction_log, clock or SystemClock()
        self._keeper = LogKeeper(settings.paths.prediction_log, settings.serving.log_retention_days)
        self._engine = Engine(registry, signing_key=settings.serving.signing_key)
        self.breakers = VersionBreakers(settings.serving)
        self._last_good = LastGood(settings.serving.last_good_seconds)
        sleeves = sleeve_names(settings.trading.sleeves)
        self._router = Router(registry, self._engine, sleeves, settings.serving.poll_seconds)
        self.repository = Repository(registry, self._engine, self._router)

    def start(self) -> None:
        """Load the models that have a champion, then follow the registry and write the log."""
        telemetry.start(SERVER_NAME)
        self._log.start()
        self._keeper.start()
        self._router.start(self._settings.serving.model)
        try:
            self._inputs.open()
        except AlphaloopError as error:
            log.warning("forecasts by symbols cannot be served yet: %s", error)

    @property
    def settings(self) -> Settings:
        """What this core serves, and how."""
        return self._settings

    @property
    def tables(self) -> list[RoutingTable]:
        """What the rollout documents said when they were last read."""
        return self._router.tables()

    @property
    def registry_away(self) -> str | None:
        """Why the registry cannot be read; None where it can."""
        return next((table.stale for table in self.tables if table.stale), None)

    def served(self, model: str = "", version: str = "") -> list[tuple[str, str]]:
        """Model and version of what is loaded, or of what is named; raises `UnknownNameError` for a name."""
        if not model:
            return [(entry.name, entry.version) for entry in self.repository.index(ready=True)]
        require_number(model, version)
        if version:
            self._registry.card(model, version)
            return [(model, version)]
        return [(model, one) for one in self._registry.versions(model)]

    @property
    def feature_bars(self) -> dict[str, datetime]:
        """The bar of the last answer by symbols, for each model that has a rollout."""
        return self._inputs.bars

    @property
    def dropped(self) -> int:
        """Rows that the prediction log has had to drop."""
        return self._log.dropped

    def known(self, model: str) -> tuple[str, ...]:
        """The versions that the rollout of `model` needs, the champion first; empty where nobody asked."""
        table = self._router.known(model)
        if table is None:
            return ()
        champion, challenger = table.document.champion, table.document.challenger
        return (champion, challenger) if challenger else (champion,)

    def close(self) -> None:
        """Stop following the registry and write the rest of the log."""
        self._router.close()
        self._keeper.close()
        self._log.close()
        telemetry.stop()

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
        card = answering.card
        properties = {
            "champion": ",".join(self.known(model)[:1]),
            "described_version": answering.version,
            "digest": card.digest,
            "family": card.family,
            "feature_set": card.feature_set,
            "horizon": str(card.horizon),
            "score_kind": card.score_kind,
            "cross_sectional": str(card.cross_sectional).lower(),
        }
        return ModelDescription(model, versions, card.lookback, answering.features, properties)

    def at_hand(self, request: InferenceRequest) -> bool:
        """Whether `infer` can answer without reading the registry."""
        if request.version:
            return self.repository.holds(request.model, request.version)
        table = self._router.known(request.model)
        return table is not None and table.document.generation >= request.min_generation

    def fetch(self, request: InferenceRequest) -> InferenceRequest:
        """Read from the registry what `infer` needs; the request to ask it with. Raises as `infer` does."""
        if request.version:
            self.repository.require(request.model, request.version)
            return request
        self._router.table(request.model, request.min_generation)
        # Where the registry has nothing newer, `infer` need not look again.
        return replace(request, min_generation=0)

    def infer(
        self, request: InferenceRequest, arrived: float | None = None, later: Later = at_once
    ) -> InferenceResponse:
        """Answer one request, which came at `arrived`, and log the prediction and its shadow.

        What the answer need not wait for, the shadow's scores and the log, is handed to `later`.

        Raises `UnknownNameError` (a model, a version, or none of the symbols), `MissingStateError` (no
        champion, no online store, an unloaded version), `InvalidRequestError` (the inputs do not fit the
        model), `StaleFeaturesError`, `FeatureSetMismatchError`, `ServingError` (the version that must
        answer failed).
        """
        started = monotonic() if arrived is None else arrived
        if request.version:
            return self._infer_pinned(request, started, later)
        table = self._router.table(request.model, request.min_generation)
        second = [table.challenger] if table.has_challenger and table.challenger else []
        asked = monotonic()
        with telemetry.span("features"):
            inputs = self._inputs.read(request, [table.champion, *second], started)
        read = monotonic()
        with telemetry.span("onnx"):
            route, answer, shadow = self._answer(table, request.route_key, inputs)
        timing = Timing(read - asked, monotonic() - read)
        exchange = Exchange.begin(request, inputs, table)
        if answer.error is not None:
            return self._repeat(exchange, answer, timing)
        later(partial(self._finish, exchange, answer, route, shadow))
        return exchange.response(answer, route, timing)

    def _answer(
        self, table: RoutingTable, route_key: str, inputs: Inputs
    ) -> tuple[Route, Scored, Callable[[], Scored | None] | None]:
        """The route, the answer by it, and what gives the scores of the other version, if there is one.

        The challenger answers only a canary's request, and only if it does not fail; else the champion
        does, and its answer may have an error.
        """
        champion = partial(self.breakers.score, table.champion, inputs)
        if table.route(route_key) is not Route.CANARY:
            shadow = partial(self._challenge, table, inputs) if table.has_challenger else None
            return Route.CHAMPION, champion(), shadow
        challenger = self._challenge(table, inputs)
        if challenger is None or challenger.error is not None:
            return Route.FALLBACK, champion(), lambda: challenger
        return Route.CANARY, challenger, champion

    def _finish(
        self, exchange: Exchange, answer: Scored, route: Route, shadow: Callable[[], Scored | None] | None
    ) -> None:
        """What is left to do once a request has been answered."""
        self._last_good.keep(exchange.request.model, answer, exchange.inputs)
        self._record(exchange, answer, route)
        if shadow is None:
            return
        with telemetry.span("shadow"):
            beside = shadow()
        if beside is not None:
            self._record(exchange, beside, Route.SHADOW, "/shadow")

    def _infer_pinned(self, request: InferenceRequest, started: float, later: Later) -> InferenceResponse:
        """Answer by the version that was asked for; only the champion's answer may carry capital."""
        loaded = self._version(request.model, request.version)
        table = self._router.known(request.model)
        asked = monotonic()
        with telemetry.span("features"):
            inputs = self._inputs.read(request, [loaded], started)
        read = monotonic()
        with telemetry.span("onnx"):
            answer = self.breakers.score(loaded, inputs)
        timing = Timing(read - asked, monotonic() - read)
        if answer.error:
            raise ServingError(answer.error)
        is_champion = table is not None and table.document.champion == request.version
        route = Route.CHAMPION if is_champion else Route.SHADOW
        exchange = Exchange.begin(request, inputs, table)
        later(partial(self._record, exchange, answer, route))
        return exchange.response(answer, route, timing)

    def _challenge(self, table: RoutingTable, inputs: Inputs) -> Scored | None:
        """The challenger's scores of a request; None where there is no challenger."""
        document = table.document
        if not table.has_challenger or document.challenger is None:
            return None
        if table.challenger is None:
            return unscored(document.challenger, table.challenger_error or "not loaded", inputs)
        if inputs.read is not None and not table.challenger.universe.holds(inputs.symbols):
            # No fault of the challenger's: there is nothing that it could say.
            return None
        drilled = document.override is not None and self._settings.serving.allow_drills
        rotate = document.override.rotate_inputs if document.override and drilled else 0
        return self.breakers.score(table.challenger, inputs, rotate)

    def _repeat(self, exchange: Exchange, failed: Scored, timing: Timing) -> InferenceResponse:
        """The last good scores, marked stale, where the champion has `failed`; else `ServingError`."""
        self._record(exchange, failed, Route.CHAMPION)
        good = self._last_good.recall(exchange.request.model, exchange.inputs)
        if good is None:
            raise ServingError(failed.error or "no version could answer")
        return replace(exchange, inputs=good.inputs).response(good.answer, Route.FALLBACK, timing)

    def _version(self, model: str, version: str) -> LoadedModel:
        return self.repository.require(model, version) if version else self._router.table(model).champion

    def _record(self, exchange: Exchange, scored: Scored, route: Route, suffix: str = "") -> None:
        self._log.put(exchange.row(scored, route, self._clock.now(), suffix))


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
