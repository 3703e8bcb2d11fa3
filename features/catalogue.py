"""The catalogue: every indicator there is, by name, defined once for batch and stream.

Those of TA-Lib, and each that a module in `features/indicators/` defines.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import features.indicators
from alphaloop.errors import DataError, UnknownNameError
from features.graph import Column, Input, Node
from features.indicator import Indicator, Parameter

Resolve = Callable[[str], Indicator]
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


def default_argument(name: str, find_indicator: Resolve = find) -> Column:
    """What an indicator's input `name` means where no series is given for it."""
    known = _catalogue()
    return apply(name, find_indicator=find_indicator).output() if name in known else Input(name)


def apply(
    name: str,
    arguments: Sequence[Column] | None = None,
    positional: Sequence[Parameter] = (),
    named: Mapping[str, Parameter] | None = None,
    find_indicator: Resolve = find,
) -> Node:
    """The indicator `name` over `arguments`, by default over its own inputs."""
    indicator = find_indicator(name)
    if arguments is None:
        arguments = [default_argument(one, find_indicator) for one in indicator.inputs]
    return indicator.apply(arguments, positional, named)


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
