"""The families that there are: every module below `models.zoo` that defines `FAMILY`."""

from __future__ import annotations

import importlib
import pkgutil

import models.zoo
from alphaloop.errors import UnknownNameError
from models.family import Family


def names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(_discover())


def find(name: str) -> Family:
    """The family called `name`; raises `UnknownNameError` with those that there are."""
    families = _discover()
    if name not in families:
        raise UnknownNameError("model family", name, families)
    return families[name]


def _discover() -> dict[str, Family]:
    families: dict[str, Family] = {}
    for module_info in pkgutil.walk_packages(models.zoo.__path__, f"{models.zoo.__name__}."):
        family = getattr(importlib.import_module(module_info.name), "FAMILY", None)
        if family is not None:
            families[family.name] = family
    return families
