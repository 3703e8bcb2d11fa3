"""Interface of a registry's store, for both of its forms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.registry.card import Card


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model's tags, and the version that each of its aliases names."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A model version: its number, its run, where its files are, and its tags."""

    model: str
    number: str
    run: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)


class RegistryStore(Protocol):
    """Model versions with their files: MLflow's database under home, or an MLflow server.

    Every method raises `VendorError` where MLflow fails, and `DamagedStoreError` for what cannot be read.
    Those that are given a name raise `UnknownNameError` for a model or version that does not exist.
    """

    @property
    def uri(self) -> str:
        """Tracking URI for any MLflow client."""
        ...

    def add_version(self, model: str, files: Path, card: Card, tags: Mapping[str, str]) -> str:
        """Store the files of folder `files` as a new version of `model`; return its number.

        The model is made where it is missing. The version appears only once every file is complete.
        """
        ...

    def models(self) -> list[RegisteredModel]:
        """List every model."""
        ...

    def model(self, name: str) -> RegisteredModel:
        """Return one model."""
        ...

    def versions(self, model: str) -> list[str]:
        """List the numbers of the versions of `model`, in any order."""
        ...

    def version(self, model: str, number: str) -> StoredVersion:
        """Return one version."""
        ...

    def read(self, version: StoredVersion, name: str, digest: str | None) -> bytes:
        """Return the file `name` of a version; `digest` is the SHA-256 that it should have."""
        ...

    def place(self, version: StoredVersion) -> str:
        """Return the place of the files of a version, for a message."""
        ...

    def tag_model(self, model: str, name: str, value: str) -> None:
        """Set a tag of `model`."""
        ...

    def tag_version(self, model: str, number: str, name: str, value: str) -> None:
        """Set a tag of a version."""
        ...

    def set_alias(self, model: str, alias: str, number: str | None) -> None:
        """Let `alias` name a version, or remove it (None)."""
        ...

    def locked(self) -> AbstractContextManager[object]:
        """Hold the right to change documents, among all processes of this machine."""
        ...
