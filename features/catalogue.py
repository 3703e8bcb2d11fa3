"""The catalogue of indicators: TA-Lib's, and those defined in `features/indicators/`.

Each indicator has one definition for batch and stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import features.indicators
from alphaloop.errors import UnknownNameError
from alphaloop.plugins import Plugin, by_name, find_plugins, used_files
from features.engine.graph import Input, Node
from features.engine.indicator import Indicator, Parameter
from features.indicators import ta_lib

GROUP = "alphaloop.indicators"


def indicator_names() -> tuple[str, ...]:
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
    >>> from features.catalogue import indicator_names
    >>> "rsi" in indicator_names(), "vpin" in indicator_names()
    (True, True)
    """
    return tuple(_catalogue())


def find_indicator(name: str) -> Indicator:
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
    >>> from features.catalogue import find_indicator
    >>> find_indicator("rsi").inputs, dict(find_indicator("rsi").parameters)
    (('close',), {'timeperiod': 14})
    """
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownNameError("indicator", name, catalogue)
    return catalogue[name]


def build_indicator(name: str, named: Mapping[str, Parameter] | None = None) -> Node:
    """Build the node of indicator `name` over its default inputs.

    Inputs are columns of the bars, or other indicators of that name. `named` overrides parameter defaults.
    Raises `UnknownNameError` for an unknown indicator and `InputError` for a wrong parameter.
    """
    indicator, known = find_indicator(name), _catalogue()
    arguments = [build_indicator(one).output() if one in known else Input(one) for one in indicator.inputs]
    return indicator.apply(arguments, named)


def _catalogue() -> dict[str, Indicator]:
    return _catalogue_with(used_files())


@cache
def _catalogue_with(files: tuple[Path, ...]) -> dict[str, Indicator]:
    return by_name("indicators", _scan())


def _scan() -> Iterator[tuple[str, Indicator, Plugin]]:
    plugins = find_plugins(features.indicators, GROUP)
    # TA-Lib's come first.
    for plugin in sorted(plugins, key=lambda plugin: plugin.module is not ta_lib):
        own: Iterable[Indicator] = (
            ta_lib.talib_indicators() if plugin.module is ta_lib else indicators_defined_in(plugin.module)
        )
        if not plugin.module.__name__.startswith(f"{features.indicators.__name__}."):
            own = versioned(own, Path(str(plugin.module.__file__)))
        yield from ((indicator.name, indicator, plugin) for indicator in own)


def versioned(indicators: Iterable[Indicator], path: Path) -> list[Indicator]:
    """Return `indicators` of the user's file `path` with a version that changes with the file.

    The hash of a feature set that holds one of them changes with it.
    """
    version = int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")
    return [replace(indicator, version=version) for indicator in indicators]


def indicators_defined_in(module: object) -> Iterator[Indicator]:
    """Yield the indicators that `module` defines itself, not those it imports."""
    own = getattr(module, "__name__", "")
    for value in vars(module).values():
        if isinstance(value, Indicator) and value.factory.__module__ == own:
            yield value
