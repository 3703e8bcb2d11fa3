"""The inference core: one request in, one answer out. Every edge and host uses this one.

It knows no transport and is not async: a forecast takes a fraction of a millisecond, less than handing
it to a thread would.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from alphaloop.clock import Clock, SystemClock, monotonic
from alphaloop.errors import AlphaloopError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import sleeve_names
from alphaloop.settings.settings import Settings
from alphaloop.telemetry import tracing
from serving.inference.executor import Answering, Later, at_once
from serving.inference.input_reader import InputReader
from serving.inference.model_cache import Engine, LoadedModel
from serving.inference.model_repository import Repository, require_number
from serving.inference.routed_request import Exchange
from serving.inference.router import Router, RoutingTable
from serving.inference.version_breaker import VersionBreakers
from serving.log.compaction import LogKeeper
from serving.log.disk_space import LogSpace
from serving.log.prediction_log import PredictionLog
from serving.protocol.messages import SERVER_NAME, InferenceRequest, InferenceResponse, ModelDescription

if TYPE_CHECKING:
    from features.store.online import OnlineReader
    from models.registry.model_registry import Registry

log = logging.getLogger(__name__)

# Reads for many symbols that are kept: each may have tens of megabytes.
LARGE_CACHED_READS = 4


class InferenceCore:
    """Answers requests by the rollout document, scores the second version beside, and logs both."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        reader: OnlineReader,
        prediction_log: PredictionLog,
        clock: Clock | None = None,
        large_reader: OnlineReader | None = None,
    ) -> None:
        """`large_reader` reads for many symbols, so that nobody else waits for `reader` meanwhile."""
        self._settings, self._registry = settings, registry
        self._inputs = InputReader(reader, large_reader)
        self._log = prediction_log
        self._keeper = LogKeeper(
            settings.paths.prediction_log, settings.serving.log_retention_days, space=prediction_log.space
        )
        self._engine = Engine(registry, signing_key=settings.serving.signing_key)
        self._answering = Answering(settings.serving, prediction_log, clock or SystemClock())
        sleeves = sleeve_names(settings.trading.sleeves)
        self._router = Router(registry, self._engine, sleeves, settings.serving.poll_seconds)
        self.repository = Repository(registry, self._engine, self._router)

    def start(self) -> None:
        """Load the models that have a champion, then follow the registry and write the log."""
        tracing.start(SERVER_NAME)
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
    def breakers(self) -> VersionBreakers:
        """The circuit breakers of the versions."""
        return self._answering.breakers

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
        tracing.stop()

    @property
    def ready(self) -> bool:
        """Whether the model of the settings has a champion that is loaded."""
        return self._router.known(self._settings.serving.model) is not None

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether the model, or that version of it, is loaded and can answer.

        It reads no registry and loads nothing, as whoever asks this need not show a token.
        """
        return self.repository.ready(model, version) if version else self._router.known(model) is not None

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

    def symbols_of(self, request: InferenceRequest) -> int:
        """How many symbols a request is about: those in it, or those that they are scored among."""
        if request.symbols is None:
            return request.size
        if request.version:
            held = self.repository.held(request.model, request.version)
            versions = [] if held is None else [held]
        else:
            table = self._router.known(request.model)
            versions = [] if table is None else table.versions
        most = request.size
        for one in versions:
            if one.universe.whole:
                most = max(most, len(one.universe.symbols))
        return most

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

    def prepare(self, request: InferenceRequest, arrived: float | None = None) -> Exchange:
        """Route one request, which came at `arrived`, and read its inputs.

        Raises `UnknownNameError` (a model, a version, or none of the symbols), `MissingStateError` (no
        champion, no online store, an unloaded version), `InvalidRequestError` (the inputs do not fit the
        model), `StaleFeaturesError`, `FeatureSetMismatchError`.
        """
        begun = monotonic()
        by: LoadedModel | RoutingTable
        if request.version:
            by = self._version(request.model, request.version)
            versions, table = [by], self._router.known(request.model)
            # Only the champion's answer may carry capital.
            is_champion = table is not None and table.document.champion == request.version
            route = Route.CHAMPION if is_champion else Route.SHADOW
        else:
            by = table = self._router.table(request.model, request.min_generation)
            versions, route = table.versions, table.route(request.route_key)
        with tracing.span("features"):
            inputs = self._inputs.read(request, versions, begun if arrived is None else arrived)
        return Exchange(request, inputs, by, table, route, begun, monotonic() - begun)

    def score_together(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """As `serving.inference.executor.Answering.score_together`."""
        return self._answering.score_together(exchanges)

    def answer(self, exchange: Exchange, later: Later = at_once) -> InferenceResponse:
        """Answer what was prepared; `later` is handed what the answer need not wait for, shadow and log.

        Raises `ServingError` where the version that must answer failed.
        """
        return self._answering.answer(exchange, later)

    def infer(
        self, request: InferenceRequest, arrived: float | None = None, later: Later = at_once
    ) -> InferenceResponse:
        """`prepare` and `answer` one request."""
        return self.answer(self.prepare(request, arrived), later)

    def _version(self, model: str, version: str) -> LoadedModel:
        return self.repository.require(model, version) if version else self._router.table(model).champion


def build(settings: Settings) -> InferenceCore:
    """The core on the registry, online store and prediction log of `settings`. Starts nothing."""
    from features.store.online import OnlineReader
    from models.registry.model_registry import Registry

    return InferenceCore(
        settings,
        Registry(settings.paths.registry),
        OnlineReader.from_settings(settings),
        PredictionLog(
            settings.paths.prediction_log,
            space=LogSpace(settings.paths.prediction_log, settings.serving.log_max_bytes),
        ),
        large_reader=OnlineReader.from_settings(settings, LARGE_CACHED_READS),
    )
