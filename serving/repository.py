"""The model repository, as the protocol's clients may look at it and change it.

What the rollout needs is loaded in any case. Beyond that a client may load a version, which then stays,
and unload one that the rollout does not need, which is then refused until it is loaded again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphaloop.errors import MissingStateError, UnknownNameError
from serving.engine import Engine, LoadedModel
from serving.failures import InUseError
from serving.router import Router

if TYPE_CHECKING:
    from models.registry import Registry

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
# Of a version, which registries keep as a whole number.
MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the index: `state` is `READY` or `UNAVAILABLE`, with the reason."""

    name: str
    version: str
    state: str
    reason: str = ""


class Repository:
    """The versions of the registry, and which of them are loaded here. Thread-safe."""

    def __init__(self, registry: Registry, engine: Engine, router: Router) -> None:
        self._registry, self._engine, self._router = registry, engine, router
        # Held here, a version outlives the engine's choice of those that were used last.
        self._pinned: dict[tuple[str, str], LoadedModel] = {}
        self._unloaded: set[tuple[str, str]] = set()
        self._changing = threading.Lock()

    def index(self, ready: bool = False) -> list[IndexEntry]:
        """Every version of the registry; with `ready` only those that can answer at once."""
        entries = [
            self._entry(model, version)
            for model in self._registry.models()
            for version in self._registry.versions(model)
        ]
        return [entry for entry in entries if entry.state == READY or not ready]

    def load(self, model: str, version: str = "") -> LoadedModel:
        """Load a version, by default the champion, and keep it.

        Raises `UnknownNameError`, `MissingStateError` for a model without a champion, and what
        `Engine.load` raises.
        """
        require_number(model, version)
        chosen = version or self._router.refresh(model).document.champion
        loaded = self._engine.load(model, chosen)
        with self._changing:
            self._pinned[model, chosen] = loaded
            self._unloaded.discard((model, chosen))
        return loaded

    def unload(self, model: str, version: str = "") -> None:
        """Unload a version, by default all of the model; raises `InUseError` for one the rollout needs."""
        require_number(model, version)
        known = self._registry.versions(model)
        if version and version not in known:
            self._registry.card(model, version)
        chosen = [version] if version else known
        needed = self._needed(model).intersection(chosen)
        if needed:
            names = ", ".join(sorted(needed, key=int))
            raise InUseError(
                f"the rollout of '{model}' needs version {names}; end the rollout or promote another first"
            )
        with self._changing:
            for one in chosen:
                self._pinned.pop((model, one), None)
                self._unloaded.add((model, one))
        for one in chosen:
            self._engine.unload(model, one)

    def require(self, model: str, version: str) -> LoadedModel:
        """A version, loaded if it was not; raises `MissingStateError` for one that was unloaded."""
        require_number(model, version)
        key = (model, version)
        if self._barred(model, version):
            raise MissingStateError(
                f"{model} version {version} has been unloaded; load it again (repository load)"
            )
        return self._pinned.get(key) or self._engine.load(model, version)

    def holds(self, model: str, version: str) -> bool:
        """Whether `require` would answer at once."""
        return (model, version) in self._pinned or self._engine.holds(model, version)

    def held(self, model: str, version: str) -> LoadedModel | None:
        """A version if it is in memory. Looks, and never loads."""
        return self._pinned.get((model, version)) or self._engine.held(model, version)

    def ready(self, model: str, version: str) -> bool:
        """Whether a version is loaded and may answer. Looks, and never loads."""
        return self.holds(model, version) and not self._barred(model, version)

    def _barred(self, model: str, version: str) -> bool:
        return (model, version) in self._unloaded and version not in self._needed(model)

    def _entry(self, model: str, version: str) -> IndexEntry:
        if self.ready(model, version):
            return IndexEntry(model, version, READY)
        if (model, version) in self._unloaded:
            return IndexEntry(model, version, UNAVAILABLE, "unloaded")
        return IndexEntry(model, version, UNAVAILABLE, "not loaded; a request for it loads it")

    def _needed(self, model: str) -> set[str]:
        table = self._router.known(model)
        if table is None:
            return set()
        document = table.document
        return {one for one in (document.champion, document.challenger) if one is not None}


def require_number(model: str, version: str) -> None:
    """Raise `UnknownNameError` for a version that no registry can have; the registry need not be asked."""
    if version and not (version.isascii() and version.isdigit() and len(version) <= MOST_DIGITS):
        where, hint = f"model '{model[:64]}'", "versions are numbers from 1"
        raise UnknownNameError("version", version[:64], (), where=where, hint=hint)
