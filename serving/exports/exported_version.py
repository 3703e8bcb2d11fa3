"""Model version to export, with its checked file and card, and the export's folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alphaloop.errors import InputError
from models.registry.card import Card
from serving.inference.model_cache import LoadedModel

if TYPE_CHECKING:
    from models.registry.model_registry import Registry


@dataclass(frozen=True, slots=True)
class ExportedVersion:
    """Version of `model` with its card and an ONNX file that ONNX Runtime can run.

    Parameters
    ----------
    model, version : str
        Name and version in the registry.
    card : Card
        The version's model card.
    onnx : bytes
        The version's ONNX file.
    """

    model: str
    version: str
    card: Card
    onnx: bytes

    @classmethod
    def read(cls, registry: Registry, model: str, version: str = "") -> ExportedVersion:
        """Read a version from the registry and check that it runs.

        Parameters
        ----------
        registry : Registry
            Registry to read from.
        model : str
            Name of the model.
        version : str
            Version to read; by default the champion, else the newest.

        Returns
        -------
        ExportedVersion
            The version, which ONNX Runtime can run.

        Raises
        ------
        UnknownNameError
            If the registry does not have the model or version.
        DamagedStoreError
            If the ONNX file does not have the digest on its card.
        ServingError
            If ONNX Runtime cannot run the version.
        """
        document = registry.rollout(model)
        chosen = version or (document.champion if document else registry.versions(model)[-1])
        card, content = registry.card(model, chosen), registry.onnx(model, chosen)
        LoadedModel(model, chosen, card, content)
        return cls(model, chosen, card, content)

    @property
    def safe_name(self) -> str:
        """Model name in characters that file systems and container tags accept."""
        return re.sub(r"[^a-z0-9_-]+", "-", self.model.lower()).strip("-") or "model"


def require_new_folder(folder: Path) -> Path:
    """Return `folder` as an absolute path; raises `InputError` unless it is missing or empty."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError(f"{folder} exists already; give another place, or remove it")
    return folder.resolve()


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block succeeds.

    If the block fails, nothing remains. Raises `InputError` if `folder` is not empty, or cannot be written.
    """
    folder = require_new_folder(folder)
    created = [parent for parent in folder.parents if not parent.exists()]
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
        yield unfinished
        os.replace(unfinished, folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in created:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{folder} cannot be written ({error.strerror}); give another place") from error
        raise
