"""Model repository of the protocol: clients list, load and unload versions.

The versions of a rollout are always loaded. Beyond them a client may load a version, which then stays, and
unload a version that the rollout does not need; an unloaded version is refused until it is loaded again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphaloop.errors import MissingStateError, UnknownNameError
from alphaloop.version_number import is_version_number
from serving.inference.model_cache import LoadedModel, ModelCache
from serving.inference.router import Router
from serving.protocol.errors import InUseError, NotOfferedError
from serving.protocol.messages import SERVER_NAME, InvalidRequestError, abbreviate
from serving.protocol.tensors import Parameter

if TYPE_CHECKING:
    from models.registry.model_registry import Registry

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
VERSION_PARAMETER = "version"
# Triton's parameter of an unload. No version here depends on another, so both values mean the same.
DEPENDENTS_PARAMETER = "unload_dependents"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the index: `state` is `READY` or `UNAVAILABLE`, with the reason."""

    name: str
    version: str
    state: str
    reason: str = ""


class ModelRepository:
    """Versions of the registry, and their state in this server. Thread-safe."""

    def __init__(self, registry: Registry, model_cache: ModelCache, router: Router) -> None:
        self._registry, self._model_cache, self._router = registry, model_cache, router
        # A version held here stays loaded although the cache keeps only the most recently used.
        self._pinned: dict[tuple[str, str], LoadedModel] = {}
        self._unloaded: set[tuple[str, str]] = set()
        self._changing = threading.Lock()

    def index(self, ready: bool = False) -> list[IndexEntry]:
        """List every version of the registry; with `ready` only loaded ones that may answer."""
        entries = [
            self._entry(model, version)
            for model in self._registry.models()
            for version in self._registry.versions(model)
        ]
        return [entry for entry in entries if entry.state == READY or not ready]

    def load(self, model: str, version: str = "") -> LoadedModel:
        """Load a version, by default the champion, and keep it.

        Raises `UnknownNameError`, `MissingStateError` for a model without a champion, and the errors of
        `ModelCache.load`.
        """
        require_version_number(model, version)
        chosen = version or self._router.refresh(model).document.champion
        loaded = self._model_cache.load(model, chosen)
        with self._changing:
            self._pinned[model, chosen] = loaded
            self._unloaded.discard((model, chosen))
        return loaded

    def unload(self, model: str, version: str = "") -> None:
        """Unload a version, by default all of the model.

        Raises `InUseError` if the rollout needs the version.
        """
        require_version_number(model, version)
        registered = self._registry.versions(model)
        if version and version not in registered:
            self._registry.card(model, version)
        chosen = [version] if version else registered
        needed = self._needed(model).intersection(chosen)
        if needed:
            names = ", ".join(sorted(needed, key=int))
            raise InUseError(
                f"the rollout of '{model}' needs version {names}; end the rollout or promote another first"
            )
        with self._changing:
            for unloaded in chosen:
                self._pinned.pop((model, unloaded), None)
                self._unloaded.add((model, unloaded))
        for unloaded in chosen:
            self._model_cache.unload(model, unloaded)

    def require(self, model: str, version: str) -> LoadedModel:
        """Return a version, loading it if needed; raise `MissingStateError` for an unloaded version."""
        require_version_number(model, version)
        key = (model, version)
        if self._barred(model, version):
            raise MissingStateError(
                f"{model} version {version} has been unloaded; load it again (repository load)"
            )
        return self._pinned.get(key) or self._model_cache.load(model, version)

    def is_loaded(self, model: str, version: str) -> bool:
        """Return whether `require` would answer without loading."""
        return (model, version) in self._pinned or self._model_cache.is_loaded(model, version)

    def get_loaded(self, model: str, version: str) -> LoadedModel | None:
        """Return a version if it is in memory. Never loads."""
        return self._pinned.get((model, version)) or self._model_cache.get_loaded(model, version)

    def ready(self, model: str, version: str) -> bool:
        """Return whether a version is loaded and may answer. Never loads."""
        return self.is_loaded(model, version) and not self._barred(model, version)

    def _barred(self, model: str, version: str) -> bool:
        return (model, version) in self._unloaded and version not in self._needed(model)

    def _entry(self, model: str, version: str) -> IndexEntry:
        if self.ready(model, version):
            return IndexEntry(model, version, READY)
        if (model, version) in self._unloaded:
            return IndexEntry(model, version, UNAVAILABLE, "unloaded")
        return IndexEntry(model, version, UNAVAILABLE, "not loaded; a request for it loads it")

    def _needed(self, model: str) -> set[str]:
        table = self._router.cached_table(model)
        if table is None:
            return set()
        document = table.document
        return {version for version in (document.champion, document.challenger) if version is not None}


def version_to_load(parameters: Mapping[str, Parameter]) -> str:
    """Return the parameter `version` of a load, empty without it.

    Raises `NotOfferedError` or `InvalidRequestError` for any other parameter.
    """
    return _version_of(parameters, "a load", (VERSION_PARAMETER,))


def version_to_unload(parameters: Mapping[str, Parameter]) -> str:
    """Return the parameter `version` of an unload. Raises as `version_to_load` does."""
    return _version_of(parameters, "an unload", (VERSION_PARAMETER, DEPENDENTS_PARAMETER))


def _version_of(parameters: Mapping[str, Parameter], call: str, known: tuple[str, ...]) -> str:
    for name in parameters:
        if name == "config" or name.startswith("file:"):
            raise NotOfferedError(
                f"{SERVER_NAME} does not offer the parameter '{name[:64]}' of {call}: a version is served "
                "as it was registered; register another"
            )
        if name not in known:
            raise InvalidRequestError(
                f"there is no parameter '{name[:64]}' of {call}; known: {', '.join(known)}"
            )
    version = parameters.get(VERSION_PARAMETER, "")
    if not isinstance(version, str | int) or isinstance(version, bool):
        raise InvalidRequestError(
            f"parameter '{VERSION_PARAMETER}' is {abbreviate(version)}; it is a version's number"
        )
    return str(version)


def require_version_number(model: str, version: str) -> None:
    """Raise `UnknownNameError` for a text that cannot be a version, without asking the registry."""
    if version and not is_version_number(version):
        where, hint = f"model '{model[:64]}'", "versions are numbers from 1, without leading zeros"
        raise UnknownNameError("version", version[:64], (), where=where, hint=hint)
