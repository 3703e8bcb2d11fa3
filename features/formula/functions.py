"""Built-in functions and operators of the language, each over arrays of one shape.

A result that is not finite, as of a division by zero or the logarithm of a negative number, becomes NaN for
that bar in the operators that run these functions. True is 1 and false is 0; any other value counts as true.
Only `log` and `exp` may differ in the last bit between batch and stream, because the vectorised and the
scalar versions of a platform's library need not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.ranks import centred_rank
from features.engine.cross_section import apply_within_groups, demean, share_positive, universe_median, zscore

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BuiltinFunction:
    """A function of `least` to `most` values, applied to each bar separately."""

    function: Callable[..., Any]
    least: int = 1
    most: int = 1
    exact: bool = True


@dataclass(frozen=True)
class BoundFunction:
    """`function` with constants bound: `places` holds them, and None for each remaining argument."""

    function: Callable[..., Any]
    places: tuple[float | None, ...]

    def __call__(self, *values: Values) -> Any:
        coming = iter(values)
        return self.function(*(next(coming) if place is None else place for place in self.places))


@dataclass(frozen=True)
class GroupedFunction:
    """A function of the universe, applied within groups; the second series holds the group codes."""

    function: Callable[[Values], Values]

    def __call__(self, values: Values, groups: Values) -> Values:
        return apply_within_groups(self.function, values, groups)


def _truth(function: Callable[[Any, Any], Any]) -> BuiltinFunction:
    return BuiltinFunction(lambda left, right: function(left, right).astype(np.float64), 2, 2)


def _greatest(first: Values, *others: Values) -> Values:
    for other in others:
        first = np.maximum(first, other)
    return first


def _least(first: Values, *others: Values) -> Values:
    for other in others:
        first = np.minimum(first, other)
    return first


def _clip(values: Values, low: Values, high: Values) -> Values:
    return np.minimum(np.maximum(values, low), high)


def power(exponent: int) -> Callable[[Values], Values]:
    """Return a function that raises to a power by repeated multiplication, which is exact on any platform."""

    def raised(values: Values) -> Values:
        result = values
        for _ in range(exponent - 1):
            result = result * values
        return result

    return raised


SIGN_FUNCTIONS: Mapping[str, BuiltinFunction] = MappingProxyType(
    {
        "+": BuiltinFunction(np.add, 2, 2),
        "-": BuiltinFunction(np.subtract, 2, 2),
        "*": BuiltinFunction(np.multiply, 2, 2),
        "/": BuiltinFunction(np.divide, 2, 2),
        "<": _truth(np.less),
        "<=": _truth(np.less_equal),
        ">": _truth(np.greater),
        ">=": _truth(np.greater_equal),
        "==": _truth(np.equal),
        "!=": _truth(np.not_equal),
        "and": _truth(np.logical_and),
        "or": _truth(np.logical_or),
        "negative": BuiltinFunction(np.negative),
        "not": BuiltinFunction(lambda values: np.logical_not(values).astype(np.float64)),
    }
)

POINTWISE_FUNCTIONS: Mapping[str, BuiltinFunction] = MappingProxyType(
    {
        "abs": BuiltinFunction(np.abs),
        "sqrt": BuiltinFunction(np.sqrt),
        "sign": BuiltinFunction(np.sign),
        "log": BuiltinFunction(np.log, exact=False),
        "exp": BuiltinFunction(np.exp, exact=False),
        "greatest": BuiltinFunction(_greatest, 2, 64),
        "least": BuiltinFunction(_least, 2, 64),
        "clip": BuiltinFunction(_clip, 3, 3),
    }
)

UNIVERSE_FUNCTIONS: Mapping[str, Callable[[Values], Values]] = MappingProxyType(
    {
        "rank": centred_rank,
        "zscore": zscore,
        "demean": demean,
        "breadth": share_positive,
        "median": universe_median,
    }
)

ARGUMENT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("abs", "sqrt", "sign", "log", "exp"), ("x",)),
        **dict.fromkeys(("greatest", "least"), ("x", "y", "…")),
        "where": ("condition", "x", "y"),
        "clip": ("x", "low", "high"),
        **dict.fromkeys(("lag", "difference"), ("x", "bars")),
        **dict.fromkeys(UNIVERSE_FUNCTIONS, ("x", "by")),
    }
)
"""Names of each function's arguments; those in `OPTIONAL_ARGUMENTS` may be left out."""

OPTIONAL_ARGUMENTS = ("by",)


def signature(name: str) -> str:
    """Return a function's signature as written in formulas."""
    arguments = (
        f"{argument}=…" if argument in OPTIONAL_ARGUMENTS else argument for argument in ARGUMENT_NAMES[name]
    )
    return f"{name}({', '.join(arguments)})"
