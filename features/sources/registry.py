"""Finds sources by name: every module beside this one that defines `SOURCE`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import features.sources
from alphaloop.errors import DataError, UnknownNameError
from features.source import Source


def find(name: str) -> Source:
    """The source called `name`; `UnknownNameError` lists those there are."""
    sources = _discover(tuple(features.sources.__path__))
    if name not in sources:
        raise UnknownNameError("source", name, sources)
    return sources[name]


def names() -> list[str]:
    """The names of all sources, sorted."""
    return sorted(_discover(tuple(features.sources.__path__)))


@cache
def _discover(path: tuple[str, ...]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for module in pkgutil.iter_modules(path):
        source = getattr(importlib.import_module(f"features.sources.{module.name}"), "SOURCE", None)
        if source is None:
            continue
        if source.name in found:
            raise DataError(
                f"two modules in features/sources define a source called '{source.name}'; rename one"
            )
        found[source.name] = source
    return found
