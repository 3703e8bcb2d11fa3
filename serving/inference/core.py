"""Inference core: one request in, one answer out, for every edge and host.

The core knows no transport and is not async: a forecast takes a fraction of a millisecond, less than
handing it to a thread would.
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
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import sleeve_names
from alphaloop.telemetry import tracing
from serving.inference.executor import Defer, PredictionExecutor, run_inline
from serving.inference.input_reader import InputReader
from serving.inference.model_cache import LoadedModel, ModelCache
from serving.inference.model_repository import ModelRepository, require_version_number
from serving.inference.routed_request import RoutedKeys, RoutedRequest
from serving.inference.router import Router, RoutingTable
from serving.inference.scoring import choose_scorings, is_batchable
from serving.inference.values import RequestInputs
from serving.inference.version_breaker import VersionBreakers
from serving.log.compaction import LogCompactor
from serving.log.disk_space import LogSpace
from serving.log.prediction_log import PredictionLog
from serving.protocol.messages import SERVER_NAME, InferenceRequest, InferenceResponse, ModelDescription

if TYPE_CHECKING:
    from features.store.online_reader import OnlineReader
    from models.registry.model_registry import Registry

log = logging.getLogger(__name__)

# Cached reads for many symbols: each may have tens of megabytes.
LARGE_CACHED_READS = 4


class InferenceCore:
    """Core that routes requests by the rollout document, scores them and logs every prediction.

    A request is answered by the champion or, in a canary, by the challenger; the other version scores the
    same inputs as a shadow. Both are logged.

    Parameters
    ----------
    settings : Settings
        Settings of the server.
    registry : Registry
        Model registry with the rollout documents.
    reader : OnlineReader
        Reader of the online feature store.
    prediction_log : PredictionLog
        Log of all predictions; started and closed by the core.
    clock : Clock, optional
        Source of the log's timestamps; the system's clock by default.
    large_reader : OnlineReader, optional
        Second reader for requests with many symbols, so that other requests do not wait for `reader`.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        reader: OnlineReader,
        prediction_log: PredictionLog,
        clock: Clock | None = None,
        large_reader: OnlineReader | None = None,
    ) -> None:
        self._settings, self._registry = settings, registry
        self._inputs = InputReader(reader, large_reader)
        self._log = prediction_log
        self._compactor = LogCompactor(
            settings.locations.prediction_log, settings.serving.log_retention_days, space=prediction_log.space
        )
        self._model_cache = ModelCache(registry, signing_key=settings.serving.signing_key)
        self._executor = PredictionExecutor(settings.serving, prediction_log, clock or SystemClock())
        sleeves = sleeve_names(settings.trading.sleeves)
        self._router = Router(registry, self._model_cache, sleeves, settings.serving.poll_seconds)
        self.repository = ModelRepository(registry, self._model_cache, self._router)

    def start(self) -> None:
        """Load the rollouts' versions, then follow the registry and write the log in the background."""
        tracing.start_tracing(SERVER_NAME)
        self._log.start()
        self._compactor.start()
        self._router.start(self._settings.serving.model)
        try:
            self._inputs.open()
        except AlphaloopError as error:
            log.warning("forecasts by symbols cannot be served yet: %s", error)

    @property
    def settings(self) -> Settings:
        """Settings of the server."""
        return self._settings

    @property
    def tables(self) -> list[RoutingTable]:
        """Routing tables as last read from the rollout documents."""
        return self._router.tables()

    @property
    def registry_away(self) -> str | None:
        """Reason why the registry cannot be read; None if it can."""
        return next((table.stale for table in self.tables if table.stale), None)

    def served_versions(self, model: str = "", version: str = "") -> list[tuple[str, str]]:
        """Return model and version of all loaded versions, or of the named ones.

        Raises `UnknownNameError` for a name that the registry does not have.
        """
        if not model:
            return [(entry.name, entry.version) for entry in self.repository.index(ready=True)]
        require_version_number(model, version)
        if version:
            self._registry.card(model, version)
            return [(model, version)]
        return [(model, number) for number in self._registry.versions(model)]

    @property
    def breakers(self) -> VersionBreakers:
        """Circuit breakers of the versions."""
        return self._executor.breakers

    @property
    def feature_bars(self) -> dict[str, datetime]:
        """Bar of the last answer by symbols, for each model with a rollout."""
        return self._inputs.bars

    @property
    def dropped_rows(self) -> int:
        """Number of rows that the prediction log dropped."""
        return self._log.dropped

    def rollout_versions(self, model: str) -> tuple[str, ...]:
        """Return the versions that the rollout of `model` needs, the champion first.

        Empty if the model has not been requested yet.
        """
        table = self._router.cached_table(model)
        if table is None:
            return ()
        champion, challenger = table.document.champion, table.document.challenger
        return (champion, challenger) if challenger else (champion,)

    def close(self) -> None:
        """Stop following the registry and write the rest of the log."""
        self._router.close()
        self._compactor.close()
        self._log.close()
        tracing.stop_tracing()

    @property
    def ready(self) -> bool:
        """True if the settings' model has a loaded champion."""
        return self._router.cached_table(self._settings.serving.model) is not None

    def model_ready(self, model: str, version: str = "") -> bool:
        """Return whether the model, or one version of it, is loaded and can answer.

        Reads no registry and loads nothing, because this call needs no token.
        """
        return (
            self.repository.ready(model, version) if version else self._router.cached_table(model) is not None
        )

    def describe(self, model: str, version: str = "") -> ModelDescription:
        """Return the metadata of a model.

        Parameters
        ----------
        model : str
            Name of the model.
        version : str
            Version to describe; the champion by default.

        Returns
        -------
        ModelDescription
            Versions, input shapes and facts of the card.

        Raises
        ------
        UnknownNameError
            If the registry does not have the model or version.
        MissingStateError
            If the model has no champion, or the version was unloaded.
        """
        answering = self._version(model, version)
        versions = (version,) if version else tuple(self._registry.versions(model))
        card = answering.card
        properties = {
            "champion": ",".join(self.rollout_versions(model)[:1]),
            "described_version": answering.version,
            "digest": card.digest,
            "family": card.family,
            "feature_set": card.feature_set,
            "horizon": str(card.horizon),
            "score_kind": card.score_kind,
            "cross_sectional": str(card.cross_sectional).lower(),
        }
        return ModelDescription(model, versions, card.lookback, answering.features, properties)

    def count_symbols(self, request: InferenceRequest) -> int:
        """Return the number of symbols that a request makes the server score.

        For a cross-sectional version that is its whole universe, if it is larger than the request.
        """
        if request.symbols is None:
            return request.size
        if request.version:
            named = self.repository.get_loaded(request.model, request.version)
            versions = [] if named is None else [named]
        else:
            table = self._router.cached_table(request.model)
            versions = [] if table is None else table.versions
        count = request.size
        for loaded in versions:
            if loaded.universe.scored_whole:
                count = max(count, len(loaded.universe.symbols))
        return count

    def can_answer_now(self, request: InferenceRequest) -> bool:
        """Return whether `infer` can answer without reading the registry."""
        if request.version:
            return self.repository.is_loaded(request.model, request.version)
        table = self._router.cached_table(request.model)
        return table is not None and table.document.generation >= request.min_generation

    def load_for(self, request: InferenceRequest) -> InferenceRequest:
        """Read from the registry what `infer` needs, and return the request to pass to it.

        Raises as `infer` does.
        """
        if request.version:
            self.repository.require(request.model, request.version)
            return request
        self._router.table(request.model, request.min_generation)
        # The table is now as new as the registry's, so `infer` need not look again.
        return replace(request, min_generation=0)

    def prepare(self, routed: RoutedRequest) -> RoutedRequest:
        """Route a request, read its inputs, and choose how each version scores it.

        Does nothing for a request that is prepared already.

        Raises
        ------
        UnknownNameError
            For an unknown model or version, or if none of the symbols is known.
        MissingStateError
            If there is no champion or no online store, or the version was unloaded.
        InvalidRequestError
            If the inputs do not fit the model.
        StaleFeaturesError
            If the online store does not hold features of the requested bar.
        FeatureSetMismatchError
            If the version was trained on another feature set or universe than the store holds.
        """
        if routed.is_prepared:
            return routed
        started, request = monotonic(), routed.request
        target: LoadedModel | RoutingTable
        if request.version:
            target = self._version(request.model, request.version)
            versions, table = [target], self._router.cached_table(request.model)
            # A named version carries no capital unless it is the champion.
            is_champion = table is not None and table.document.champion == request.version
            routes = {Route.CHAMPION if is_champion else Route.SHADOW: request.keys}
        else:
            target = table = self._router.table(request.model, request.min_generation)
            versions, routes = table.versions, table.routes(request.keys)
        with tracing.span("features"):
            inputs = self._inputs.read(request, versions, routed.arrived_at)
        rotate = self._rotation(target)
        routed.target, routed.table, routed.inputs = target, table, inputs.requested
        routed.scorings = choose_scorings(target, inputs, rotate)
        routed.groups = tuple(RoutedKeys(route, keys) for route, keys in routes.items())
        routed.batch_version = _batch_version(routed, inputs, rotate)
        routed.started, routed.read_seconds = started, monotonic() - started
        return routed

    def score_together(self, routed_requests: Sequence[RoutedRequest]) -> bool:
        """Score several prepared requests in one run; see `PredictionExecutor.score_together`."""
        return self._executor.score_together(routed_requests)

    def answer(self, routed: RoutedRequest, defer: Defer = run_inline) -> InferenceResponse:
        """Answer a prepared request; `defer` receives the work that can follow the answer (shadow, log).

        Raises `ServingError` if no route key could be answered.
        """
        return self._executor.answer(routed, defer)

    def infer(
        self, request: InferenceRequest, arrived: float | None = None, defer: Defer = run_inline
    ) -> InferenceResponse:
        """Prepare and answer one request.

        Parameters
        ----------
        request : InferenceRequest
            Request to answer.
        arrived : float, optional
            Time of arrival, in seconds of `alphaloop.clock.monotonic`; now by default.
        defer : callable
            Receives a function with the work that can follow the answer, the shadow's scores and the log;
            runs it at once by default.

        Returns
        -------
        InferenceResponse
            Scores, statuses and lineage.

        Raises
        ------
        ServingError
            If every version that must answer failed, and no cached scores can replace it.
        UnknownNameError, MissingStateError, InvalidRequestError, StaleFeaturesError, FeatureSetMismatchError
            As in `prepare`.
        """
        routed = RoutedRequest(request) if arrived is None else RoutedRequest(request, arrived)
        return self.answer(self.prepare(routed), defer)

    def _rotation(self, target: LoadedModel | RoutingTable) -> int:
        """Return the columns by which a fault drill rotates the challenger's features; 0 without a drill."""
        if isinstance(target, LoadedModel) or not self._settings.serving.allow_drills:
            return 0
        override = target.document.override
        return override.rotate_inputs if override else 0

    def _version(self, model: str, version: str) -> LoadedModel:
        return self.repository.require(model, version) if version else self._router.table(model).champion


def _batch_version(routed: RoutedRequest, inputs: RequestInputs, rotate: int) -> LoadedModel | None:
    """Return the version that answers every route key, if it may score this request in a batch."""
    target = routed.target
    if isinstance(target, LoadedModel):
        version: LoadedModel | None = target
    elif len(routed.groups) > 1:
        version = None
    elif routed.groups[0].route is Route.CANARY and target.document.challenger in routed.scorings:
        version = None if rotate else target.challenger
    else:
        version = target.champion
    return version if version is not None and is_batchable(version, inputs) else None


def build_core(settings: Settings) -> InferenceCore:
    """Build the core on the registry, online store and prediction log of `settings`.

    Nothing is started: call `start` on the result, and `close` at the end.

    Parameters
    ----------
    settings : Settings
        Settings with the paths of registry, online store and prediction log.

    Returns
    -------
    InferenceCore
        Core that is not started yet.
    """
    from features.store.online_reader import OnlineReader
    from models.registry.configured_registry import configured_registry

    return InferenceCore(
        settings,
        configured_registry(settings),
        OnlineReader.from_settings(settings),
        PredictionLog(
            settings.locations.prediction_log,
            space=LogSpace(settings.locations.prediction_log, settings.serving.log_max_bytes),
        ),
        large_reader=OnlineReader.from_settings(settings, LARGE_CACHED_READS),
    )
