"""The registry of model versions, on MLflow's database under home or on an MLflow server.

Any MLflow client can read it. The rollout document of a model is a row of the journal's database, which only
control changes; its copy here, a tag and the aliases of the registered model, is for people and for MLflow's
own clients. An earlier release had the tag alone: where there is no row yet, it counts.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from alphaloop.errors import DamagedStoreError, InputError, RolloutConflictError, UnknownNameError
from alphaloop.journal.rollout_documents import DocumentReader
from alphaloop.rollout_document import RolloutDocument
from alphaloop.version_number import is_version_number
from models.registry.card import Card
from models.registry.embedded_store import EmbeddedStore
from models.registry.registry_store import RegistryStore, StoredVersion

ROLLOUT_TAG = "alphaloop.rollout"
CARD_DIGEST_TAG = "alphaloop.card_digest"
SIGNATURE_TAG = "alphaloop.signature"
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"
CHAMPION, CHALLENGER = "champion", "challenger"


class Registry:
    """Model versions and rollout documents, shared by several processes.

    Nothing is opened or created before the first call. `models.registry.configured_registry` makes the one
    that the settings name.

    Parameters
    ----------
    folder : Path
        Folder of the registry on this machine.
    store : RegistryStore, optional
        Where versions and files are; by default in `folder`.
    documents : DocumentReader, optional
        The rollout documents in the journal's database. Without it, and for a model that it does not have,
        the copy on the registry counts.

    Raises
    ------
    DamagedStoreError
        From every method, where stored data cannot be read or has another hash than when it was stored.
    UnknownNameError
        From every method, for a model or version that does not exist.
    VendorError
        From every method, where MLflow fails or its server does not answer.
    """

    def __init__(
        self, folder: Path, store: RegistryStore | None = None, documents: DocumentReader | None = None
    ) -> None:
        self.folder = Path(folder).resolve()
        self.store: RegistryStore = store or EmbeddedStore(self.folder)
        self._documents = documents

    @property
    def uri(self) -> str:
        """The tracking URI for any MLflow client."""
        return self.store.uri

    def register(self, model: str, onnx: bytes, card: Card) -> str:
        """Store a model version and return its number.

        The version appears only once file and card are complete. Raises `InputError` if the card's digest is
        not that of `onnx`.
        """
        digest = hashlib.sha256(onnx).hexdigest()
        if card.digest != digest:
            raise InputError(f"the card of '{model}' has digest {card.digest[:12]}, its file {digest[:12]}")
        with tempfile.TemporaryDirectory(prefix="alphaloop-model-") as folder:
            files = Path(folder) / "model"
            _write_model(files, onnx, card)
            return self.store.add_version(model, files, card, _version_tags(card))

    def models(self) -> list[str]:
        """List the names of all registered models, sorted."""
        return sorted(one.name for one in self.store.models())

    def versions(self, model: str) -> list[str]:
        """List the versions of `model`, oldest first."""
        return sorted(self.store.versions(model), key=int)

    def card(self, model: str, version: str) -> Card:
        """Return the card of a version, checked against the hash that it was stored with."""
        stored = self._version(model, version)
        return self._card_of(stored)

    def _card_of(self, stored: StoredVersion) -> Card:
        expected = stored.tags.get(CARD_DIGEST_TAG)
        text = self.store.read(stored, CARD_FILE, expected)
        if hashlib.sha256(text).hexdigest() != expected:
            raise DamagedStoreError(
                f"the card of {stored.model} version {stored.number} in {self.store.place(stored)} was "
                "altered after registration; register the model again"
            )
        return Card.from_json(text.decode())

    def onnx(self, model: str, version: str) -> bytes:
        """Return the ONNX file of a version, checked against the digest on its card."""
        stored = self._version(model, version)
        card = self._card_of(stored)
        content = self.store.read(stored, ONNX_FILE, card.digest)
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
        with self.store.locked():
            self.store.tag_version(model, version, SIGNATURE_TAG, signature)

    def signature(self, model: str, version: str) -> str | None:
        """Return the signature of a version in hex; None if it was not signed."""
        signature: str | None = self._version(model, version).tags.get(SIGNATURE_TAG)
        return signature

    def rollout(self, model: str) -> RolloutDocument | None:
        """Return the rollout document of `model`; None before the first one was written."""
        stored = self._documents.read(model) if self._documents is not None else None
        return self.copied_rollout(model) if stored is None else stored

    def last_known_rollout(self, model: str) -> RolloutDocument | None:
        """Return the last document that was read on this machine, for a start without the journal."""
        return None if self._documents is None else self._documents.last_known(model)

    def copied_rollout(self, model: str) -> RolloutDocument | None:
        """Return the copy of the rollout document in the tag of `model`; None where there is none."""
        text = self.store.model(model).tags.get(ROLLOUT_TAG)
        return None if text is None else RolloutDocument.from_json(text)

    def rollouts(self) -> dict[str, RolloutDocument | DamagedStoreError]:
        """Return the rollout document of each model, or the error of reading it.

        Models without a document are left out.
        """
        documents = {one.name: one.tags.get(ROLLOUT_TAG) for one in self.store.models()}
        if self._documents is not None:
            documents |= self._documents.texts()
        return {model: _parsed(text) for model, text in sorted(documents.items()) if text is not None}

    def copy_rollout(self, document: RolloutDocument) -> bool:
        """Let tag and aliases of `document.model` say what `document` does; True if they did not."""
        with self.store.locked():
            present, wanted = self.store.model(document.model), document.to_json()
            differs = present.tags.get(ROLLOUT_TAG) != wanted
            if differs:
                self.store.tag_model(document.model, ROLLOUT_TAG, wanted)
            return self._derive_aliases(document) or differs

    def require_versions(self, document: RolloutDocument) -> None:
        """Raise `UnknownNameError` unless the versions of `document` are registered."""
        for version in filter(None, (document.champion, document.challenger)):
            self._version(document.model, version)

    def write_rollout(self, document: RolloutDocument, expected_generation: int | None) -> None:
        """Replace the copy whose generation is `expected_generation` where there is no journal.

        None expects that there is no copy yet.

        Raises `RolloutConflictError` if another generation is stored, or if that of `document` does not
        follow it. The aliases `champion` and `challenger` are derived from the document.
        """
        with self.store.locked():
            stored = self.copied_rollout(document.model)
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
            self.require_versions(document)
            self.store.tag_model(document.model, ROLLOUT_TAG, document.to_json())
            self._derive_aliases(document)

    def _derive_aliases(self, document: RolloutDocument) -> bool:
        """Let the aliases name the versions of `document`; True if they did not."""
        present, changed = self.store.model(document.model).aliases, False
        for alias, version in ((CHAMPION, document.champion), (CHALLENGER, document.challenger)):
            if present.get(alias) != version:
                self.store.set_alias(document.model, alias, version)
                changed = True
        return changed

    def _version(self, model: str, version: str) -> StoredVersion:
        if not is_version_number(str(version)):
            # MLflow takes other spellings of a number for the same version.
            raise UnknownNameError("version", str(version)[:64], self.versions(model), where=model)
        return self.store.version(model, str(version))


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


def _parsed(text: str) -> RolloutDocument | DamagedStoreError:
    try:
        return RolloutDocument.from_json(text)
    except DamagedStoreError as error:
        return error


def _version_tags(card: Card) -> Mapping[str, str]:
    return {
        CARD_DIGEST_TAG: hashlib.sha256(card.to_json().encode()).hexdigest(),
        "alphaloop.digest": card.digest,
        "alphaloop.family": card.family,
        "alphaloop.feature_set": card.feature_set,
        "alphaloop.gate": "passed" if card.passed else "refused",
    }
