"""Find sources by name: every module beside this one that defines `SOURCE` or `FAMILY`.

Of a venue that is a package, the module `source` is searched.
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
    """Many sources behind one prefix, named `prefix:name` and created on request.

    A family may also have a method `identity(name)` that returns the identity of a source (see
    `marketdata.source.identity_of`) without importing the vendor's SDK.
    """

    @property
    def prefix(self) -> str:
        """Text before the colon."""
        ...

    @property
    def description(self) -> str:
        """One line on the data and on how to name a source.

        It is shown without a call of `names`.
        """
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names that may follow the colon, sorted; empty where any name may."""
        ...

    def find(self, name: str) -> Source:
        """Return the source with this name after the colon.

        Raises
        ------
        UnknownNameError
            For a name that does not exist; lists similar names.
        """
        ...


def find_source(name: str) -> Source:
    """Return the source called `name`.

    Parameters
    ----------
    name
        Name of a source, as `sp500-20`, or of one in a family, as `ccxt:binance`.

    Returns
    -------
    Source
        The source; nothing has been read or requested yet.

    Raises
    ------
    UnknownNameError
        For an unknown name or option; lists the existing ones.
    InputError
        For an impossible value of an option.
    MissingPartError
        If the vendor's SDK is needed to find the source and is not installed.
    PluginError
        If two plug-ins have the same name, or one cannot be loaded.
    """
    prefix, colon, rest = name.partition(":")
    families = _families(*_places())
    if colon and prefix in families:
        return families[prefix].find(rest)
    sources = _discover(*_places())
    if name not in sources:
        raise UnknownNameError(
            "source", name, [*sources, *(f"{family_prefix}:…" for family_prefix in families)]
        )
    return sources[name]


def source_identity(name: str) -> str:
    """Return the identity of the source called `name`; see `marketdata.source.identity_of`.

    A family with a method `identity` answers from the name alone, so that no vendor's SDK is imported.
    A name without a source is its own identity, so that its snapshots can still be read.
    """
    prefix, colon, rest = name.partition(":")
    family = _families(*_places()).get(prefix) if colon else None
    if family is not None:
        identity_in_family = getattr(family, "identity", None)
        return str(identity_in_family(rest)) if identity_in_family else identity_of(family.find(rest))
    source = _discover(*_places()).get(name)
    return name if source is None else identity_of(source)


def source_names() -> list[str]:
    """Return the names of all sources outside of families, sorted.

    Returns
    -------
    list of str
        Names for `find_source`; `source_families` has the sources that are named `prefix:name`.

    Raises
    ------
    PluginError
        If two plug-ins have the same name, or one cannot be loaded.
    """
    return sorted(_discover(*_places()))


def source_families() -> dict[str, SourceFamily]:
    """Return the families of sources by their prefix."""
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
            # A file of the user's own may define a family of models under the same name.
            if hasattr(getattr(plugin.module, "FAMILY", None), "prefix")
        ),
    )


@cache
def _plugins(path: tuple[str, ...], files: tuple[Path, ...]) -> list[Plugin]:
    return find_plugins(marketdata.sources, GROUP, main_module="source")
