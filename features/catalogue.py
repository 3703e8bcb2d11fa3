"""The catalogue of indicators: TA-Lib's, and those defined in `features/indicators/`.

Each indicator has one definition for batch and stream.
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
    """Return the names of all indicators: TA-Lib's first, then ours by file.

    Returns
    -------
    tuple of str
        Names as formulas use them.

    Raises
    ------
    DataError
        If two indicators have the same name.

    Examples
    --------
    >>> from features.catalogue import names
    >>> "rsi" in names(), "vpin" in names()
    (True, True)
    """
    return tuple(_catalogue())


def find(name: str) -> Indicator:
    """Return the indicator called `name`.

    Parameters
    ----------
    name : str
        Name as formulas use it, in lower case.

    Returns
    -------
    Indicator
        Definition with its inputs, outputs, parameters and reference.

    Raises
    ------
    UnknownNameError
        If there is no such indicator; the error lists the known names.
    DataError
        If two indicators have the same name.

    Examples
    --------
    >>> from features.catalogue import find
    >>> find("rsi").inputs, dict(find("rsi").parameters)
    (('close',), {'timeperiod': 14})
    """
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownNameError("indicator", name, catalogue)
    return catalogue[name]


def apply(name: str, named: Mapping[str, Parameter] | None = None) -> Node:
    """Build the node of indicator `name` over its default inputs.

    Inputs are columns of the bars, or other indicators of that name. `named` overrides parameter defaults.
    Raises `UnknownNameError` for an unknown indicator and `InputError` for a wrong parameter.
    """
    indicator, known = find(name), _catalogue()
    arguments = [apply(one).output() if one in known else Input(one) for one in indicator.inputs]
    return indicator.apply(arguments, named)


@cache
def _catalogue() -> dict[str, Indicator]:
    by_name: dict[str, Indicator] = {}
    for indicator in _scan():
        if indicator.name in by_name:
            raise DataError(f"two indicators are called '{indicator.name}'; rename one")
        by_name[indicator.name] = indicator
    return by_name


def _scan() -> Iterator[Indicator]:
    from features.indicators import ta_lib

    yield from ta_lib.indicators()
    for module in pkgutil.iter_modules(features.indicators.__path__):
        if module.name != _TALIB:
            yield from defined_in(importlib.import_module(f"{_PACKAGE}.{module.name}"))


def defined_in(module: object) -> Iterator[Indicator]:
    """Yield the indicators that `module` defines itself, not those it imports."""
    own = getattr(module, "__name__", "")
    for value in vars(module).values():
        if isinstance(value, Indicator) and value.factory.__module__ == own:
            yield value
