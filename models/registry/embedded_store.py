"""The registry under home: MLflow's tables in a SQLite file, with the files of the versions beside it.

Files are read by their path under the folder, never by the absolute path that MLflow recorded, so that a
registry may be copied or mounted elsewhere. MLflow's SQLite has no fence, so that writers take a file lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from alphaloop.errors import DamagedStoreError, UnknownNameError
from alphaloop.runtime.file_lock import exclusive_lock
from models.registry.card import Card
from models.registry.mlflow_database import open_database, translate_mlflow_error
from models.registry.registry_store import RegisteredModel, StoredVersion

ABSENT_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")
"""MLflow's error codes for a name that it does not have."""


class EmbeddedStore:
    """The `RegistryStore` in a folder, shared by several processes; opened by the first call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self._opened: Any = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[type[EmbeddedStore], tuple[Path]]:
        # Another process opens the database itself, because connections cannot be pickled.
        return EmbeddedStore, (self.folder,)

    @property
    def uri(self) -> str:
        """Tracking URI for any MLflow client."""
        return f"sqlite:///{self.database}"

    def add_version(self, model: str, files: Path, card: Card, tags: Mapping[str, str]) -> str:
        """Store the files of a version; see `RegistryStore.add_version`."""
        with self._vendor() as client, self.locked():
            run = client.create_run(self._experiment(client), run_name=f"{model}-{card.family}").info.run_id
            _log_run(client, run, card)
            client.log_artifacts(run, str(files), "model")
            client.set_terminated(run)
            if model not in {one.name for one in _all_registered(client)}:
                client.create_registered_model(model)
            source = str(self._model_folder(run))
            version = client.create_model_version(model, source=source, run_id=run, tags=dict(tags))
        return str(version.version)

    def models(self) -> list[RegisteredModel]:
        """List every model."""
        with self._vendor() as client:
            # MLflow's search leaves the aliases out.
            return [RegisteredModel(one.name, dict(one.tags)) for one in _all_registered(client)]

    def model(self, name: str) -> RegisteredModel:
        """Return one model."""
        from mlflow.exceptions import MlflowException

        with self._vendor() as client:
            try:
                found = client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code not in ABSENT_CODES:
                    raise
                known = [registered.name for registered in client.search_registered_models()]
                raise UnknownNameError("model", name, known, where="the registry") from error
        aliases = {alias: str(version) for alias, version in found.aliases.items()}
        return RegisteredModel(found.name, dict(found.tags), aliases)

    def versions(self, model: str) -> list[str]:
        """List the numbers of the versions of `model`."""
        self.model(model)
        with self._vendor() as client:
            return [str(one.version) for one in client.search_model_versions(f"name='{model}'")]

    def version(self, model: str, number: str) -> StoredVersion:
        """Return one version."""
        from mlflow.exceptions import MlflowException

        with self._vendor() as client:
            try:
                found = client.get_model_version(model, number)
            except MlflowException as error:
                if error.error_code not in ABSENT_CODES:
                    raise
                raise UnknownNameError("version", number, self.versions(model), where=model) from error
        return StoredVersion(model, number, found.run_id, found.source, dict(found.tags))

    def read(self, version: StoredVersion, name: str, digest: str | None) -> bytes:
        """Return the file `name` of a version, whatever its digest."""
        path = self._model_folder(version.run) / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DamagedStoreError(f"the registry lacks {path}: {error.strerror}; restore it") from error

    def place(self, version: StoredVersion) -> str:
        """Return the folder of a version."""
        return str(self._model_folder(version.run))

    def tag_model(self, model: str, name: str, value: str) -> None:
        """Set a tag of `model`."""
        with self._vendor() as client:
            client.set_registered_model_tag(model, name, value)

    def tag_version(self, model: str, number: str, name: str, value: str) -> None:
        """Set a tag of a version."""
        with self._vendor() as client:
            client.set_model_version_tag(model, number, name, value)

    def set_alias(self, model: str, alias: str, number: str | None) -> None:
        """Let `alias` name a version, or remove it."""
        with self._vendor() as client:
            if number is None:
                client.delete_registered_model_alias(model, alias)
            else:
                client.set_registered_model_alias(model, alias, number)

    def locked(self) -> AbstractContextManager[object]:
        """Hold the folder's lock on writing."""
        return exclusive_lock(self.folder / ".writing.lock")

    def _experiment(self, client: Any) -> str:
        # An experiment is bound to its artifact folder: a registry that was moved gets a new one.
        name = f"alphaloop {self.artifacts}"
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(client.create_experiment(name, artifact_location=self.artifacts.as_uri()))

    def _model_folder(self, run: str) -> Path:
        return self.artifacts / run / "artifacts" / "model"

    @contextmanager
    def _vendor(self) -> Iterator[Any]:
        """Provide the MLflow client, with its errors translated."""
        client = self._client()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield client
        except (MlflowException, SQLAlchemyError) as error:
            raise translate_mlflow_error(self.database, error) from error

    def _client(self) -> Any:
        with self._opening:
            if self._opened is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                with exclusive_lock(self.folder / ".opening.lock"):
                    self._opened = open_database(self.database)
            return self._opened


def _log_run(client: Any, run: str, card: Card) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(name, value) for name, value in card.run_parameters().items()])
    for name, value in card.run_metrics().items():
        client.log_metric(run, name, value)


def _all_registered(client: Any) -> Iterator[Any]:
    """Yield every registered model, page by page."""
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        yield from page
        if not (token := page.token):
            return
