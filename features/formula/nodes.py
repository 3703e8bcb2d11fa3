"""Nodes of the graph for the operators and functions of the language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from features.engine.graph import Column, Input, Node, Output
from features.engine.multi_timeframe import coarser as on_coarser_bars
from features.engine.operator import Operator
from features.engine.operators.choice import Choice
from features.engine.operators.lag import Lag
from features.engine.operators.pointwise import Cross, Pointwise
from features.formula.formula_error import FormulaError
from features.formula.functions import UNIVERSE, Bound, Function, Grouped
from features.formula.syntax import Expression

Value: TypeAlias = Column | float | str


@dataclass(frozen=True)
class Meant:
    """A compiled expression: its value, and its tree with all defaults filled in."""

    value: Value
    expression: Expression


@dataclass(frozen=True)
class Place:
    """The text of a formula, for errors that point into it."""

    text: str

    def error(self, what: str, at: Expression) -> FormulaError:
        """Return the error that points at expression `at`."""
        return FormulaError(what, self.text, at.span.start)

    def series(self, given: Meant) -> Column:
        """Return the value as a series. Raises `FormulaError` for a number or string."""
        if isinstance(given.value, float | str):
            raise self.error(f"a series is needed here, not {kind_of(given.value)}", given.expression)
        return given.value

    def whole_number(self, given: Meant, what: str, least: int, most: int) -> int:
        """Return the value as a whole number from `least` to `most`. Raises `FormulaError` for others."""
        value = given.value
        if not isinstance(value, float):
            raise self.error(f"{what} must be a whole number, not {kind_of(value)}", given.expression)
        if not (value.is_integer() and least <= value <= most):
            raise self.error(f"{what} must be a whole number from {least} to {most}", given.expression)
        return int(value)


def kind_of(value: Value) -> str:
    """Name the kind of a value, for error messages."""
    if isinstance(value, float):
        return "a number"
    return "a string" if isinstance(value, str) else "a series"


def is_series(value: Value) -> bool:
    """Return whether the value varies from bar to bar."""
    return isinstance(value, Input | Output)


def made(operator: Operator, arguments: tuple[Column, ...], definition: Mapping[str, object]) -> Node:
    """Build a node and cache its properties now, because later they would recurse down the whole graph."""
    node = Node(operator, arguments, definition)
    _ = node.key, node.lookback, node.exact, node.inputs
    return node


def pointwise(
    name: str, function: Function, given: tuple[Meant, ...], source: Place, at: Expression
) -> Value:
    """Apply `function` to each bar separately; numbers alone are folded into a number."""
    for one in given:
        if isinstance(one.value, str):
            raise source.error("a number or a series is needed here, not a string", one.expression)
    numbers = tuple(one.value if isinstance(one.value, float) else None for one in given)
    series = tuple(one.value for one in given if not isinstance(one.value, float | str))
    if not series:
        return _folded(function, numbers, source, at)
    called = function.function if len(series) == len(given) else Bound(function.function, numbers)
    definition = {"function": name, "numbers": list(numbers)}
    return made(Pointwise(called, exact=function.exact), series, definition).output()


def choice(given: tuple[Meant, Meant, Meant], source: Place) -> Value:
    """Select the second value where the first is true, else the third."""
    for one in given:
        if isinstance(one.value, str):
            raise source.error("a number or a series is needed here, not a string", one.expression)
    condition, chosen, other = (one.value for one in given)
    if isinstance(condition, float):
        return chosen if condition else other
    first, second = (value if isinstance(value, float) else None for value in (chosen, other))
    series = tuple(one.value for one in given if not isinstance(one.value, float | str))
    definition = {"function": "where", "numbers": [None, first, second]}
    return made(Choice((None, first, second)), series, definition).output()


def lagged(given: Meant, bars: int, source: Place) -> Column:
    """Shift the series by `bars` bars of the symbol."""
    series = source.series(given)
    if bars == 0:
        return series
    return made(Lag(bars), (series,), {"function": "lag", "bars": bars}).output()


def universe(name: str, given: Meant, by: Meant | None, source: Place) -> Column:
    """Apply a function to all symbols of a bar, or to those of each group."""
    series = (source.series(given),)
    if by is None:
        return made(Cross(UNIVERSE[name]), series, {"function": name}).output()
    groups = source.series(by)
    return made(Cross(Grouped(UNIVERSE[name])), (*series, groups), {"function": name}).output()


def _folded(function: Function, numbers: tuple[float | None, ...], source: Place, at: Expression) -> float:
    with np.errstate(all="ignore"):
        value = float(function.function(*(np.float64(number or 0.0) for number in numbers)))
    if not np.isfinite(value):
        raise source.error("these numbers give no finite number", at)
    return value


def coarser(series: Column, count: int, unit: str) -> Column:
    """Compute the series on coarser bars, visible only after they have closed."""
    node = on_coarser_bars(series, f"{count}{unit}")
    return made(node.operator, node.arguments, node.definition).output()
