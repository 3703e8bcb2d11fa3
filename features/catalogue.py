"""The catalogue: every indicator there is, by name, defined once for batch and stream.

Those of TA-Lib, and each that a module in `features/indicators/` defines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import features.indicators
from alphaloop.errors import UnknownNameError
from alphaloop.plugins import Plugin, by_name, find_plugins
from features.engine.graph import Input, Node
from features.engine.indicator import Indicator, Parameter
from features.indicators import ta_lib

GROUP = "alphaloop.indicators"


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
    return by_name("indicators", _scan())


def _scan() -> Iterator[tuple[str, Indicator, Plugin]]:
    plugins = find_plugins(features.indicators, GROUP)
    # TA-Lib's come first.
    for plugin in sorted(plugins, key=lambda plugin: plugin.module is not ta_lib):
        own = ta_lib.indicators() if plugin.module is ta_lib else defined_in(plugin.module)
        yield from ((indicator.name, indicator, plugin) for indicator in own)


def defined_in(module: object) -> Iterator[Indicator]:
    """The indicators that a module defines."""
    own = getattr(module, "__name__", "")
    for value in vars(module).values():
        if isinstance(value, Indicator) and value.factory.__module__ == own:
            yield value
