"""Router: applies the rollout document, so that the version answers that its sleeve plan names.

A background thread reads the document again, so that a request waits for the registry only if its client has
seen a newer document. While the document's store is away, the router continues with the last known one, of
this machine if it starts meanwhile; it never goes back to an older generation.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError, DamagedStoreError, MissingStateError, UnknownNameError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.sleeve_plan import SleevePlan, plan_sleeves
from serving.inference.model_cache import LoadedModel, ModelCache

if TYPE_CHECKING:
    from models.registry.model_registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Rollout document with its versions loaded.

    `challenger_error` says why the challenger could not be loaded; the champion then answers in its place.
    `stale` says why the last attempt to read the registry failed. `read_at` is the time of the last success
    (`alphaloop.clock.monotonic`).
    """

    plan: SleevePlan
    champion: LoadedModel
    challenger: LoadedModel | None = None
    challenger_error: str | None = None
    stale: str | None = None
    read_at: float = field(default_factory=monotonic)

    @property
    def document(self) -> RolloutDocument:
        """The rollout document."""
        return self.plan.document

    @property
    def versions(self) -> list[LoadedModel]:
        """Versions that score a request, the champion first."""
        if self.has_challenger and self.challenger is not None:
            return [self.champion, self.challenger]
        return [self.champion]

    @property
    def has_challenger(self) -> bool:
        """True if a second version scores every request."""
        return self.document.challenger is not None and self.document.state is not RolloutState.STEADY

    def routes(self, route_keys: Sequence[str]) -> dict[Route, tuple[str, ...]]:
        """Return the keys that lead to each route, the champion's or, in a canary, the challenger's."""
        if not self.has_challenger:
            return {Route.CHAMPION: tuple(route_keys)}
        keys: dict[Route, list[str]] = {}
        for key in route_keys:
            keys.setdefault(self.plan.route(key), []).append(key)
        return {route: tuple(some) for route, some in keys.items()}


class Router:
    """Keeper of one `RoutingTable` for each requested model. Thread-safe."""

    def __init__(
        self, registry: Registry, model_cache: ModelCache, sleeves: tuple[str, ...], poll_seconds: float
    ) -> None:
        self._registry, self._model_cache = registry, model_cache
        self._sleeves, self._poll_seconds = sleeves, poll_seconds
        self._tables: dict[str, RoutingTable] = {}
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._poller: threading.Thread | None = None

    def start(self, *expected: str) -> None:
        """Read the documents of all models, then poll in the background.

        The `expected` models are polled even if the registry does not list them yet.
        """
        self._discover(expected)
        self._poller = threading.Thread(target=self._poll, args=(expected,), name="router", daemon=True)
        self._poller.start()

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()
        if self._poller is not None:
            self._poller.join()
            self._poller = None

    def cached_table(self, model: str) -> RoutingTable | None:
        """Return the table of `model` if there is one, without reading the registry."""
        return self._tables.get(model)

    def tables(self) -> list[RoutingTable]:
        """Return the last known tables of all models."""
        return list(self._tables.values())

    def table(self, model: str, min_generation: int = 0) -> RoutingTable:
        """Return the table of `model`, reading it now if it is older than `min_generation`.

        Otherwise the table is at most one poll old. Raises `UnknownNameError` for a model that the registry
        does not have, and `MissingStateError` for a model without a champion.
        """
        table = self._tables.get(model)
        if table is None or table.document.generation < min_generation:
            return self.refresh(model)
        return table

    def refresh(self, model: str) -> RoutingTable:
        """Read the document of `model` now.

        If that fails, the last known table is kept and marked `stale`.
        """
        with self._refreshing:
            last = self._tables.get(model)
            try:
                table = self._read(model, last)
            except (AlphaloopError, OSError) as error:
                table = self._restored(model, error) if last is None else self._keep(last, error)
            self._tables[model] = table
            return table

    def _read(self, model: str, last: RoutingTable | None) -> RoutingTable:
        document = self._registry.rollout(model)
        if document is None:
            raise MissingStateError(f"model '{model}' has no champion yet; promote a version of it first")
        if last and document.generation < last.document.generation:
            raise DamagedStoreError(
                f"the rollout of '{model}' is at generation {document.generation} there, and was at "
                f"{last.document.generation} here; was an older copy put back?"
            )
        if last and last.stale:
            log.warning("the registry is back; %s goes on at generation %d", model, document.generation)
        if last and last.document == document and not last.challenger_error:
            return replace(last, stale=None, read_at=monotonic())
        return self._loaded(document, last)

    def _loaded(self, document: RolloutDocument, last: RoutingTable | None) -> RoutingTable:
        model = document.model
        champion = self._model_cache.load(model, document.champion)
        plan = plan_sleeves(document, self._sleeves)
        if document.challenger is None:
            return RoutingTable(plan, champion)
        try:
            return RoutingTable(plan, champion, self._model_cache.load(model, document.challenger))
        except AlphaloopError as error:
            if last is None or last.challenger_error is None:
                log.warning("challenger %s of %s cannot be loaded: %s", document.challenger, model, error)
            return RoutingTable(plan, champion, challenger_error=str(error))

    def _restored(self, model: str, error: Exception) -> RoutingTable:
        """Start from the last document read on this machine; raises `error` where there is none."""
        document = self._registry.last_known_rollout(model)
        if document is None:
            raise error
        log.warning(
            "the rollout document cannot be read (%s); %s starts at generation %d, the last one known here",
            error, model, document.generation,
        )  # fmt: skip
        return replace(self._loaded(document, None), stale=str(error))

    def _keep(self, last: RoutingTable, error: Exception) -> RoutingTable:
        if last.stale is None:
            document = last.document
            log.warning(
                "the registry cannot be read (%s); %s goes on at generation %d",
                error, document.model, document.generation,
            )  # fmt: skip
        return replace(last, stale=str(error))

    def _discover(self, expected: tuple[str, ...]) -> None:
        try:
            names = {*expected, *self._registry.models()}
        except (AlphaloopError, OSError) as error:
            log.warning("the registry's models cannot be listed: %s", error)
            names = set(expected)
        for name in sorted(names):
            try:
                self.refresh(name)
            except (MissingStateError, UnknownNameError) as error:
                log.info("%s", error)
            except (AlphaloopError, OSError) as error:
                log.warning("model '%s' cannot be served: %s", name, error)

    def _poll(self, expected: tuple[str, ...]) -> None:
        while not self._stop.wait(self._poll_seconds):
            for name in {*expected, *self._tables}:
                try:
                    self.refresh(name)
                except (AlphaloopError, OSError) as error:
                    log.debug("model '%s' cannot be served yet: %s", name, error)
