"""Find sources by name: every module beside this one that defines `SOURCE` or `FAMILY`.

Of a venue that is a package, the module `source` is searched.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Protocol

import marketdata.sources
from alphaloop.errors import DataError, UnknownNameError
from marketdata.source import Source, identity_of


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


def find(name: str) -> Source:
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
    DataError
        If two modules define the same name.
    """
    prefix, colon, rest = name.partition(":")
    families = _families(tuple(marketdata.sources.__path__))
    if colon and prefix in families:
        return families[prefix].find(rest)
    sources = _discover(tuple(marketdata.sources.__path__))
    if name not in sources:
        raise UnknownNameError(
            "source", name, [*sources, *(f"{family_prefix}:…" for family_prefix in families)]
        )
    return sources[name]


def identity(name: str) -> str:
    """Return the identity of the source called `name`; see `marketdata.source.identity_of`.

    A family with a method `identity` answers from the name alone, so that no vendor's SDK is imported. A name
    without a source is its own identity, so that its snapshots can still be read.
    """
    path = tuple(marketdata.sources.__path__)
    prefix, colon, rest = name.partition(":")
    family = _families(path).get(prefix) if colon else None
    if family is not None:
        identity_in_family = getattr(family, "identity", None)
        return str(identity_in_family(rest)) if identity_in_family else identity_of(family.find(rest))
    source = _discover(path).get(name)
    return name if source is None else identity_of(source)


def names() -> list[str]:
    """Return the names of all sources outside of families, sorted.

    Returns
    -------
    list of str
        Names for `find`; `families` has the sources that are named `prefix:name`.

    Raises
    ------
    DataError
        If two modules define the same name.
    """
    return sorted(_discover(tuple(marketdata.sources.__path__)))


def families() -> dict[str, SourceFamily]:
    """Return the families of sources by their prefix."""
    return dict(_families(tuple(marketdata.sources.__path__)))


@cache
def _discover(path: tuple[str, ...]) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for module in _modules(path):
        source = getattr(module, "SOURCE", None)
        if source is None:
            continue
        if source.name in sources:
            raise DataError(
                f"two modules in marketdata/sources define a source called '{source.name}'; rename one"
            )
        sources[source.name] = source
    return sources


@cache
def _families(path: tuple[str, ...]) -> dict[str, SourceFamily]:
    families_by_prefix: dict[str, SourceFamily] = {}
    for module in _modules(path):
        family = getattr(module, "FAMILY", None)
        if family is None:
            continue
        if family.prefix in families_by_prefix:
            raise DataError(
                f"two modules in marketdata/sources define a family '{family.prefix}'; rename one"
            )
        families_by_prefix[family.prefix] = family
    return families_by_prefix


def _modules(path: tuple[str, ...]) -> list[ModuleType]:
    tails = [
        f"{module_info.name}.source" if module_info.ispkg else module_info.name
        for module_info in pkgutil.iter_modules(path)
    ]
    return [importlib.import_module(f"marketdata.sources.{tail}") for tail in tails]
