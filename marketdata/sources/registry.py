"""Finds sources by name: every module beside this one that defines `SOURCE`, or a `FAMILY` of them.

A venue that needs several files is a package here, and its module `source` is what is looked at.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Protocol

import marketdata.sources
from alphaloop.errors import UnknownNameError
from alphaloop.plugins import Plugin, by_name, find_plugins, used_files
from marketdata.source import Source, identity_of

GROUP = "alphaloop.sources"


class SourceFamily(Protocol):
    """Many sources behind one door, called `prefix:name`, each made when it is asked for."""

    @property
    def prefix(self) -> str:
        """What comes before the colon."""
        ...

    @property
    def description(self) -> str:
        """One line: what it holds and how one of them is named. Told without asking for `names`."""
        ...

    def names(self) -> tuple[str, ...]:
        """What may come after the colon, sorted."""
        ...

    def find(self, name: str) -> Source:
        """The source with this name after the colon; `UnknownNameError` lists those near it."""
        ...


def find(name: str) -> Source:
    """The source called `name`; `UnknownNameError` lists those there are."""
    prefix, colon, rest = name.partition(":")
    families = _families(*_places())
    if colon and prefix in families:
        return families[prefix].find(rest)
    sources = _discover(*_places())
    if name not in sources:
        raise UnknownNameError("source", name, [*sources, *(f"{one}:…" for one in families)])
    return sources[name]


def identity(name: str) -> str:
    """The identity of the source called `name`: see `marketdata.source.identity_of`.

    A family that can tell it from the name alone has a method `identity`: no kit of a vendor is imported.
    A name that is no source here is its own identity: its snapshots can be read all the same.
    """
    prefix, colon, rest = name.partition(":")
    family = _families(*_places()).get(prefix) if colon else None
    if family is not None:
        told = getattr(family, "identity", None)
        return str(told(rest)) if told else identity_of(family.find(rest))
    source = _discover(*_places()).get(name)
    return name if source is None else identity_of(source)


def names() -> list[str]:
    """The names of all sources that stand alone, sorted; `families` holds the others."""
    return sorted(_discover(*_places()))


def families() -> dict[str, SourceFamily]:
    """The families of sources by their prefix."""
    return dict(_families(*_places()))


def _places() -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Where plug-ins are found now: what was found in other places is of no use."""
    return tuple(marketdata.sources.__path__), used_files()


@cache
def _discover(path: tuple[str, ...], files: tuple[Path, ...]) -> dict[str, Source]:
    return by_name(
        "sources",
        (
            (plugin.module.SOURCE.name, plugin.module.SOURCE, plugin)
            for plugin in _plugins(path, files)
            if hasattr(plugin.module, "SOURCE")
        ),
    )


@cache
def _families(path: tuple[str, ...], files: tuple[Path, ...]) -> dict[str, SourceFamily]:
    return by_name(
        "families of sources",
        (
            (plugin.module.FAMILY.prefix, plugin.module.FAMILY, plugin)
            for plugin in _plugins(path, files)
            if hasattr(plugin.module, "FAMILY")
        ),
    )


@cache
def _plugins(path: tuple[str, ...], files: tuple[Path, ...]) -> list[Plugin]:
    return find_plugins(marketdata.sources, GROUP, main_module="source")
