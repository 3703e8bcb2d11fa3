"""The registry on an MLflow server, with the files of its versions handed out by that server.

The server numbers versions in one transaction of its database, so that two processes may register at once. A
registration whose answer was lost is looked up by its run, which only that registration knows, and is never
made twice. Files are cached on this machine by their digest: while the server is away, what is cached goes
on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from alphaloop.clock import SystemClock
from alphaloop.errors import DamagedStoreError, InputError, SettingsError, UnknownNameError
from alphaloop.runtime.file_lock import exclusive_lock
from models.registry.artifact_cache import ArtifactCache
from models.registry.card import Card
from models.registry.registry_store import RegisteredModel, StoredVersion
from models.registry.server_connection import (
    RefusedCallError,
    RegistryAwayError,
    ServerConnection,
)
from models.registry.server_login import ServerLogin

log = logging.getLogger(__name__)

EXPERIMENT = "alphaloop"
"""Experiment of the runs that registered a version."""
ABSENT, PRESENT = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
FILES_SCHEME = "mlflow-artifacts"
"""Scheme of the artifacts that the server hands out itself."""
PAGE_SIZE = 100


class ServerStore:
    """The `RegistryStore` on an MLflow server.

    Parameters
    ----------
    uri : str
        Address of the server, without a slash at its end.
    folder : Path
        Folder of this machine for the cache and the lock.
    login : ServerLogin
        The login at the server.
    """

    def __init__(self, uri: str, folder: Path, login: ServerLogin) -> None:
        self.folder = folder
        self._uri, self._login = uri, login
        self._server = ServerConnection(uri, login)
        self._cache = ArtifactCache(folder / "cache")

    def __reduce__(self) -> tuple[type[ServerStore], tuple[str, Path, ServerLogin]]:
        # Another process connects itself.
        return ServerStore, (self._uri, self.folder, self._login)

    @property
    def uri(self) -> str:
        """Tracking URI for any MLflow client."""
        return self._uri

    def add_version(self, model: str, files: Path, card: Card, tags: Mapping[str, str]) -> str:
        """Store the files of a version; see `RegistryStore.add_version`."""
        run, artifacts = self._create_run(model, card)
        source = f"{artifacts}/model"
        for file in sorted(path for path in files.rglob("*") if path.is_file()):
            path = _served_path(self._uri, f"{source}/{file.relative_to(files).as_posix()}")
            self._server.upload(path, file.read_bytes())
        self._server.post("runs/update", run_id=run, status="FINISHED", end_time=_milliseconds())
        self._create_model(model)
        body: dict[str, Any] = {"name": model, "source": source, "run_id": run, "tags": _pairs(tags)}
        try:
            created = self._server.post("model-versions/create", **body)
        except RegistryAwayError:
            number = self._version_of_run(run)
            if number is None:
                raise
            return number
        return str(created["model_version"]["version"])

    def models(self) -> list[RegisteredModel]:
        """List every model."""
        pages = self._pages("registered-models/search", "registered_models")
        return [_registered_model(found) for found in pages]

    def model(self, name: str) -> RegisteredModel:
        """Return one model."""
        try:
            return _registered_model(self._server.get("registered-models/get", name=name)["registered_model"])
        except RefusedCallError as error:
            if error.code != ABSENT:
                raise
            known = [one.name for one in self.models()]
            raise UnknownNameError("model", name, known, where="the registry") from error

    def versions(self, model: str) -> list[str]:
        """List the numbers of the versions of `model`."""
        self.model(model)
        pages = self._pages("model-versions/search", "model_versions", filter=f"name='{model}'")
        return [str(found["version"]) for found in pages]

    def version(self, model: str, number: str) -> StoredVersion:
        """Return one version: from the cache while the server is away."""
        try:
            found = self._server.get("model-versions/get", name=model, version=number)["model_version"]
        except RegistryAwayError as error:
            known = self._cache.version(model, number)
            if known is None:
                raise RegistryAwayError(
                    f"{error}; version {number} of '{model}' is not cached in {self._cache.folder}"
                ) from error
            return known
        except RefusedCallError as error:
            if error.code != ABSENT:
                raise
            raise UnknownNameError("version", number, self.versions(model), where=model) from error
        version = StoredVersion(model, number, found.get("run_id", ""), found["source"], _mapping(found))
        self._keep(lambda: self._cache.keep_version(version))
        return version

    def read(self, version: StoredVersion, name: str, digest: str | None) -> bytes:
        """Return the file `name` of a version: that of `digest` from the cache, or the server's."""
        cached = self._cache.file(digest) if digest else None
        if cached is not None:
            return cached
        try:
            content = self._server.download(_served_path(self._uri, f"{version.source}/{name}"))
        except RefusedCallError as error:
            raise DamagedStoreError(
                f"the registry {self._uri} lacks {version.source}/{name} ({error}); restore it, or register "
                "the model again"
            ) from error
        except RegistryAwayError as error:
            raise RegistryAwayError(
                f"{error}; {name} of version {version.number} of '{version.model}' is not cached in "
                f"{self._cache.folder}"
            ) from error
        if hashlib.sha256(content).hexdigest() == digest:
            self._keep(lambda: self._cache.keep_file(content))
        return content

    def place(self, version: StoredVersion) -> str:
        """Return the address of the files of a version."""
        return f"{version.source} of {self._uri}"

    def tag_model(self, model: str, name: str, value: str) -> None:
        """Set a tag of `model`."""
        self._server.post("registered-models/set-tag", name=model, key=name, value=value)

    def tag_version(self, model: str, number: str, name: str, value: str) -> None:
        """Set a tag of a version."""
        self._server.post("model-versions/set-tag", name=model, version=number, key=name, value=value)

    def set_alias(self, model: str, alias: str, number: str | None) -> None:
        """Let `alias` name a version, or remove it."""
        endpoint = "registered-models/alias"
        if number is None:
            self._server.post(endpoint, method="DELETE", name=model, alias=alias)
        else:
            self._server.post(endpoint, name=model, alias=alias, version=number)

    def locked(self) -> AbstractContextManager[object]:
        """Hold this machine's lock on documents; those of other machines are fenced by the journal."""
        return exclusive_lock(self.folder / ".writing.lock")

    def _create_run(self, model: str, card: Card) -> tuple[str, str]:
        """Make the run of a registration; return its id and the URI of its artifacts."""
        created = self._server.post(
            "runs/create",
            experiment_id=self._experiment(),
            run_name=f"{model}-{card.family}",
            start_time=_milliseconds(),
        )
        info = created["run"]["info"]
        run, artifacts = str(info["run_id"]), str(info["artifact_uri"])
        # Refused before anything is stored.
        _served_path(self._uri, artifacts)
        at = _milliseconds()
        metrics = [
            {"key": name, "value": value, "timestamp": at, "step": 0}
            for name, value in card.run_metrics().items()
        ]
        self._server.post("runs/log-batch", run_id=run, params=_pairs(card.run_parameters()), metrics=metrics)
        return run, artifacts

    def _experiment(self) -> str:
        try:
            return str(self._server.post("experiments/create", name=EXPERIMENT)["experiment_id"])
        except RefusedCallError as error:
            if error.code != PRESENT:
                raise
        found = self._server.get("experiments/get-by-name", experiment_name=EXPERIMENT)
        return str(found["experiment"]["experiment_id"])

    def _create_model(self, model: str) -> None:
        try:
            self._server.post("registered-models/create", name=model)
        except RefusedCallError as error:
            if error.code != PRESENT:
                raise

    def _version_of_run(self, run: str) -> str | None:
        found = self._server.get("model-versions/search", filter=f"run_id='{run}'").get("model_versions", [])
        return str(found[0]["version"]) if found else None

    def _pages(self, endpoint: str, key: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return what every page of a search holds under `key`."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._server.get(endpoint, max_results=PAGE_SIZE, **parameters)
            found += page.get(key, [])
            token = page.get("next_page_token")
            if not token:
                return found
            parameters["page_token"] = token

    def _keep(self, write: Any) -> None:
        """Cache something; a full disk must not keep a version from being served."""
        try:
            write()
        except InputError as error:
            log.warning("nothing of %s is cached: %s", self._uri, error)


def _served_path(server: str, uri: str) -> str:
    """Return the path of an artifact below the server's own artifacts, quoted for a URL.

    Raises `SettingsError` for an artifact that the server does not hand out.
    """
    parts = urlsplit(uri)
    if parts.scheme != FILES_SCHEME:
        raise SettingsError(
            f"the MLflow server {server} keeps artifacts in {uri} and does not hand them out; start it with "
            "--serve-artifacts and --artifacts-destination"
        )
    return quote(parts.path.lstrip("/"))


def _registered_model(found: Mapping[str, Any]) -> RegisteredModel:
    aliases = {one["alias"]: str(one["version"]) for one in found.get("aliases", [])}
    return RegisteredModel(found["name"], _mapping(found), aliases)


def _mapping(found: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]


def _milliseconds() -> int:
    return int(SystemClock().now().timestamp() * 1_000)
