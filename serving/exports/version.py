"""The version that is exported: its file and its card, checked, and what to call it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alphaloop.errors import InputError
from models.card import Card
from serving.engine import LoadedModel

if TYPE_CHECKING:
    from models.registry import Registry


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
