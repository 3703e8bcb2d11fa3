"""The version that is exported: its file and its card, checked, and what to call it."""

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
    """A version of `model` with its card and ONNX file, which ONNX Runtime can run."""

    model: str
    version: str
    card: Card
    onnx: bytes

    @classmethod
    def read(cls, registry: Registry, model: str, version: str = "") -> ExportedVersion:
        """The version, by default the champion, else the newest.

        Raises `UnknownNameError` for one that does not exist and `ServingError` for one that cannot run.
        """
        document = registry.rollout(model)
        chosen = version or (document.champion if document else registry.versions(model)[-1])
        card, content = registry.card(model, chosen), registry.onnx(model, chosen)
        LoadedModel(model, chosen, card, content)
        return cls(model, chosen, card, content)

    @property
    def safe_name(self) -> str:
        """The model's name as file systems and container tags take it."""
        return re.sub(r"[^a-z0-9_-]+", "-", self.model.lower()).strip("-") or "model"


def require_new(folder: Path) -> Path:
    """`folder`, absolute; raises `InputError` where something is already there."""
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise InputError(f"{folder} exists already; give another place, or remove it")
    return folder.resolve()


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` once the block is over.

    Of a block that fails nothing stays. Raises `InputError` where something is already there, and where it
    cannot be written.
    """
    folder = require_new(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
        yield unfinished
        os.replace(unfinished, folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{folder} cannot be written ({error.strerror}); give another place") from error
        raise
