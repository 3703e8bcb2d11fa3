"""All functions of TA-Lib as indicators, under their names in lower case."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from features.engine.indicator import Indicator
from features.engine.operator import SINGLE_OUTPUT
from features.engine.operators.talib import Talib

REFERENCE = "TA-Lib"
# Inputs that are no column of the bars: the periods of a moving average of variable length follow the
# dominant cycle, unless others are given.
DEFAULTS = {"periods": "ht_dcperiod"}
# What traders call functions whose names in TA-Lib are short.
LONG_NAMES = {"KC": "keltner", "HA": "heikin_ashi"}
# Functions whose outputs are places in the array: given as ages since version 2 of their meaning.
PLACES = ("MAXINDEX", "MININDEX", "MINMAXINDEX")


def talib_indicators() -> tuple[Indicator, ...]:
    """Return one indicator a function, in TA-Lib's order, and those that have a longer name too."""
    import talib
    from talib import abstract

    named = [(name, name.lower()) for name in talib.get_functions()] + list(LONG_NAMES.items())
    return tuple(_indicator(abstract.Function(function).info, name) for function, name in named)


def _indicator(info: dict[str, Any], name: str) -> Indicator:
    inputs: list[str] = []
    for kind, columns in info["input_names"].items():
        inputs += [DEFAULTS.get(kind, columns)] if isinstance(columns, str) else columns
    outputs = tuple(info["output_names"])
    return Indicator(
        name=name,
        factory=_factory(info["name"], info["display_name"], dict(info["parameters"])),
        inputs=tuple(inputs),
        outputs=outputs if len(outputs) > 1 else SINGLE_OUTPUT,
        group=info["group"].lower(),
        reference=REFERENCE,
        version=2 if info["name"] in PLACES else 1,
    )


def _factory(function: str, description: str, defaults: dict[str, float]) -> Callable[..., Talib]:
    def factory(**parameters: float) -> Talib:
        return Talib(function, parameters, ages=function in PLACES)

    factory.__name__ = function.lower()
    factory.__doc__ = f"{description}, in bars since then" if function in PLACES else description
    factory.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=type(value)
            )
            for name, value in defaults.items()
        ]
    )
    return factory
