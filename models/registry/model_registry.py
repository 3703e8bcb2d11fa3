"""The registry of model versions, and the only module that calls MLflow's client.

MLflow keeps its tables in one SQLite file under the registry's folder, and the ONNX files and cards beside
it; any MLflow client can read both. The rollout document of a model is a tag on the registered model. MLflow
has no compare-and-swap, so writers take a file lock.

Artifacts are read by their path under the folder, never by the absolute path that MLflow recorded, so that a
registry may be copied or mounted elsewhere.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from alphaloop.errors import DamagedStoreError, InputError, RolloutConflictError, UnknownNameError
from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.file_lock import exclusive_lock
from alphaloop.version_number import is_version_number
from models.registry.card import Card
from models.registry.mlflow_database import open_database, translate_mlflow_error

ROLLOUT_TAG = "alphaloop.rollout"
CARD_DIGEST_TAG = "alphaloop.card_digest"
SIGNATURE_TAG = "alphaloop.signature"
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"
CHAMPION, CHALLENGER = "champion", "challenger"


class Registry:
    """Model versions and rollout documents in a folder, shared by several processes.

    Nothing is opened or created before the first call.

    Parameters
    ----------
    folder : Path
        Folder of the registry.

    Raises
    ------
    DamagedStoreError
        From every method, where stored data cannot be read or has another hash than when it was stored.
    UnknownNameError
        From every method, for a model or version that does not exist.
    VendorError
        From every method, where MLflow fails.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve()
        self.database = self.folder / "mlflow.db"
        self.artifacts = self.folder / "artifacts"
        self._opened: Any = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[type[Registry], tuple[Path]]:
        # Another process opens the database itself, because connections cannot be pickled.
        return Registry, (self.folder,)

    @property
    def uri(self) -> str:
        """The tracking URI for any MLflow client."""
        return f"sqlite:///{self.database}"

    def register(self, model: str, onnx: bytes, card: Card) -> str:
        """Store a model version and return its number.

        The version appears only once file and card are complete. Raises `InputError` if the card's digest is
        not that of `onnx`.
        """
        digest = hashlib.sha256(onnx).hexdigest()
        if card.digest != digest:
            raise InputError(f"the card of '{model}' has digest {card.digest[:12]}, its file {digest[:12]}")
        with self._vendor() as client, self._lock():
            run = client.create_run(self._experiment(client), run_name=f"{model}-{card.family}")
            _log_run(client, run.info.run_id, card)
            with tempfile.TemporaryDirectory(prefix="alphaloop-model-") as folder:
                _write_model(Path(folder) / "model", onnx, card)
                client.log_artifacts(run.info.run_id, str(Path(folder) / "model"), "model")
            client.set_terminated(run.info.run_id)
            self._ensure_model(client, model)
            version = client.create_model_version(
                model,
                source=str(self._model_folder(run.info.run_id)),
                run_id=run.info.run_id,
                tags=_version_tags(card),
            )
        return str(version.version)

    def models(self) -> list[str]:
        """List the names of all registered models, sorted."""
        with self._vendor() as client:
            return sorted(registered.name for registered in _all_registered(client))

    def versions(self, model: str) -> list[str]:
        """List the versions of `model`, oldest first."""
        with self._vendor() as client:
            self._registered(client, model)
            stored = client.search_model_versions(f"name='{model}'")
        return sorted((str(one.version) for one in stored), key=int)

    def card(self, model: str, version: str) -> Card:
        """Return the card of a version, checked against the hash that it was stored with."""
        stored = self._version(model, version)
        text = self._read(stored.run_id, CARD_FILE)
        expected = stored.tags.get(CARD_DIGEST_TAG)
        if hashlib.sha256(text).hexdigest() != expected:
            raise DamagedStoreError(
                f"the card of {model} version {version} in {self._model_folder(stored.run_id)} was altered "
                "after registration; register the model again"
            )
        return Card.from_json(text.decode())

    def onnx(self, model: str, version: str) -> bytes:
        """Return the ONNX file of a version, checked against the digest on its card."""
        card = self.card(model, version)
        content = self._read(self._version(model, version).run_id, ONNX_FILE)
        digest = hashlib.sha256(content).hexdigest()
        if digest != card.digest:
            raise DamagedStoreError(
                f"the ONNX file of {model} version {version} has digest {digest[:12]}, its card says "
                f"{card.digest[:12]}; it was altered after registration, register the model again"
            )
        return content

    def sign(self, model: str, version: str, signature: str) -> None:
        """Store the `signature` (hex) of a version's digest, which serving may require."""
        self._version(model, version)
        with self._vendor() as client, self._lock():
            client.set_model_version_tag(model, version, SIGNATURE_TAG, signature)

    def signature(self, model: str, version: str) -> str | None:
        """Return the signature of a version in hex; None if it was not signed."""
        signature: str | None = self._version(model, version).tags.get(SIGNATURE_TAG)
        return signature

    def rollout(self, model: str) -> RolloutDocument | None:
        """Return the rollout document of `model`; None before the first one was written."""
        with self._vendor() as client:
            text = self._registered(client, model).tags.get(ROLLOUT_TAG)
        return None if text is None else RolloutDocument.from_json(text)

    def rollouts(self) -> dict[str, RolloutDocument | DamagedStoreError]:
        """Return the rollout document of each model, or the error of reading it.

        Models without a document are left out.
        """
        with self._vendor() as client:
            documents = {one.name: one.tags.get(ROLLOUT_TAG) for one in _all_registered(client)}
        return {model: _parsed(text) for model, text in sorted(documents.items()) if text is not None}

    def write_rollout(self, document: RolloutDocument, expected_generation: int | None) -> None:
        """Replace the document whose generation is `expected_generation` (None: there is none yet).

        Raises `RolloutConflictError` if another generation is stored, or if that of `document` does not
        follow it. The aliases `champion` and `challenger` are derived from the document.
        """
        with self._lock():
            stored = self.rollout(document.model)
            generation = stored.generation if stored else None
            if generation != expected_generation:
                raise RolloutConflictError(
                    f"the rollout of '{document.model}' is at generation {generation}, not at "
                    f"{expected_generation}; read it again and decide anew"
                )
            if document.generation <= (generation or 0):
                raise RolloutConflictError(
                    f"generation {document.generation} of the rollout of '{document.model}' does not follow "
                    f"{generation}; make it with RolloutDocument.next"
                )
            for version in filter(None, (document.champion, document.challenger)):
                self._version(document.model, version)
            with self._vendor() as client:
                client.set_registered_model_tag(document.model, ROLLOUT_TAG, document.to_json())
                self._derive_aliases(client, document)

    def derive_aliases(self, model: str) -> None:
        """Derive the aliases of `model` from its document again.

        The document's writer may have died before it did so.
        """
        with self._lock():
            document = self.rollout(model)
            if document is not None:
                with self._vendor() as client:
                    self._derive_aliases(client, document)

    def _derive_aliases(self, client: Any, document: RolloutDocument) -> None:
        present = self._registered(client, document.model).aliases
        for alias, version in ((CHAMPION, document.champion), (CHALLENGER, document.challenger)):
            if version is not None:
                client.set_registered_model_alias(document.model, alias, version)
            elif alias in present:
                client.delete_registered_model_alias(document.model, alias)

    def _registered(self, client: Any, model: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                raise
            known = [registered.name for registered in client.search_registered_models()]
            raise UnknownNameError("model", model, known, where="the registry") from error

    def _version(self, model: str, version: str) -> Any:
        from mlflow.exceptions import MlflowException

        if not is_version_number(str(version)):
            # MLflow takes other spellings of a number for the same version.
            raise UnknownNameError("version", str(version)[:64], self.versions(model), where=model)
        with self._vendor() as client:
            try:
                return client.get_model_version(model, str(version))
            except MlflowException as error:
                if error.error_code not in _ABSENT:
                    raise
                raise UnknownNameError("version", str(version), self.versions(model), where=model) from error

    def _ensure_model(self, client: Any, model: str) -> None:
        if model not in {registered.name for registered in _all_registered(client)}:
            client.create_registered_model(model)

    def _experiment(self, client: Any) -> str:
        # An experiment is bound to its artifact folder: a registry that was moved gets a new one.
        name = f"alphaloop {self.artifacts}"
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(client.create_experiment(name, artifact_location=self.artifacts.as_uri()))

    def _model_folder(self, run: str) -> Path:
        return self.artifacts / run / "artifacts" / "model"

    def _read(self, run: str, name: str) -> bytes:
        path = self._model_folder(run) / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DamagedStoreError(f"the registry lacks {path}: {error.strerror}; restore it") from error

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
                with self._lock("opening"):
                    self._opened = open_database(self.database)
            return self._opened

    def _lock(self, name: str = "writing") -> AbstractContextManager[bool]:
        return exclusive_lock(self.folder / f".{name}.lock")


_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")


def _write_model(folder: Path, content: bytes, card: Card) -> None:
    """Write an MLflow model folder of the ONNX flavour, and the card.

    The ONNX file keeps exactly our bytes, of which the card has the digest.
    """
    import mlflow.onnx
    import onnx

    graph = onnx.load_model_from_string(content)
    # Without pip_requirements MLflow would start a child to infer them (3 s).
    mlflow.onnx.save_model(graph, str(folder), pip_requirements=["onnxruntime"], save_as_external_data=False)
    (folder / ONNX_FILE).write_bytes(content)
    (folder / CARD_FILE).write_text(card.to_json())


def _all_registered(client: Any) -> Iterator[Any]:
    """Yield every registered model, page by page."""
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        yield from page
        if not (token := page.token):
            return


def _parsed(text: str) -> RolloutDocument | DamagedStoreError:
    try:
        return RolloutDocument.from_json(text)
    except DamagedStoreError as error:
        return error


def _log_run(client: Any, run: str, card: Card) -> None:
    from mlflow.entities import Param

    parameters = {"family": card.family, "seed": card.seed, "horizon": card.horizon, **card.parameters}
    client.log_batch(run, params=[Param(name, str(value)) for name, value in parameters.items()])
    for name, value in card.metrics.items():
        if value is not None:
            client.log_metric(run, name, float(value))


def _version_tags(card: Card) -> Mapping[str, str]:
    return {
        CARD_DIGEST_TAG: hashlib.sha256(card.to_json().encode()).hexdigest(),
        "alphaloop.digest": card.digest,
        "alphaloop.family": card.family,
        "alphaloop.feature_set": card.feature_set,
        "alphaloop.gate": "passed" if card.passed else "refused",
    }
