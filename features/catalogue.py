"""The catalogue: every indicator there is, by name, defined once for batch and stream.

Those of TA-Lib, and each that a module in `features/indicators/` defines.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

import features.indicators
from alphaloop.errors import DataError, UnknownNameError
from features.engine.graph import Input, Node
from features.engine.indicator import Indicator, Parameter

_PACKAGE = "features.indicators"
_TALIB = "ta_lib"


def names() -> tuple[str, ...]:
    """The names of all indicators: TA-Lib's, then our own by file."""
    return tuple(_catalogue())


def find(name: str) -> Indicator:
    """The indicator called `name`; `UnknownNameError` lists those there are."""
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownNameError("indicator", name, catalogue)
    return catalogue[name]


def apply(name: str, named: Mapping[str, Parameter] | None = None) -> Node:
    """The indicator `name` over its own inputs: columns of the bars, or indicators of that name."""
    indicator, known = find(name), _catalogue()
    arguments = [apply(one).output() if one in known else Input(one) for one in indicator.inputs]
    return indicator.apply(arguments, named)


@cache
def _catalogue() -> dict[str, Indicator]:
    found: dict[str, Indicator] = {}
    for indicator in _scan():
        if indicator.name in found:
            raise DataError(f"two indicators are called '{indicator.name}'; rename one")
        found[indicator.name] = indicator
    return found


def _scan() -> Iterator[Indicator]:
    from features.indicators import ta_lib

    yield from ta_lib.indicators()
    for module in pkgutil.iter_modules(features.indicators.__path__):
        if module.name != _TALIB:
            yield from defined_in(importlib.import_module(f"{_PACKAGE}.{module.name}"))


def defined_in(module: object) -> Iterator[Indicator]:
    """The indicators that a module defines."""
    own = getattr(module, "__name__", "")
    for value in vars(module).values():
        if isinstance(value, Indicator) and value.factory.__module__ == own:
            yield value
