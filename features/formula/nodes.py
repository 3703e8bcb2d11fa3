"""Nodes of the graph for the operators and functions of the language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from features.engine.graph import Column, Input, Node, NodeOutput
from features.engine.multi_timeframe import resample as on_coarser_bars
from features.engine.operator import Operator
from features.engine.operators.lag import Lag
from features.engine.operators.pointwise import CrossSection, Pointwise
from features.engine.operators.where import Where
from features.formula.formula_error import FormulaError
from features.formula.functions import UNIVERSE_FUNCTIONS, BoundFunction, BuiltinFunction, GroupedFunction
from features.formula.syntax import Expression

Value: TypeAlias = Column | float | str


@dataclass(frozen=True)
class CompiledExpression:
    """A compiled expression: its value, and its tree with all defaults filled in."""

    value: Value
    expression: Expression


@dataclass(frozen=True)
class SourceText:
    """The text of a formula, for errors that point into it."""

    text: str

    def error(self, what: str, at: Expression) -> FormulaError:
        """Return the error that points at expression `at`."""
        return FormulaError(what, self.text, at.span.start)

    def series(self, given: CompiledExpression) -> Column:
        """Return the value as a series. Raises `FormulaError` for a number or string."""
        if isinstance(given.value, float | str):
            raise self.error(f"a series is needed here, not {kind_of(given.value)}", given.expression)
        return given.value

    def whole_number(self, given: CompiledExpression, what: str, least: int, most: int) -> int:
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
    return isinstance(value, Input | NodeOutput)


def build_node(operator: Operator, arguments: tuple[Column, ...], definition: Mapping[str, object]) -> Node:
    """Build a node and cache its properties now, because later they would recurse down the whole graph."""
    node = Node(operator, arguments, definition)
    _ = node.key, node.lookback, node.exact, node.inputs
    return node


def pointwise(
    name: str,
    function: BuiltinFunction,
    given: tuple[CompiledExpression, ...],
    source: SourceText,
    at: Expression,
) -> Value:
    """Apply `function` to each bar separately; numbers alone are folded into a number."""
    for one in given:
        if isinstance(one.value, str):
            raise source.error("a number or a series is needed here, not a string", one.expression)
    numbers = tuple(one.value if isinstance(one.value, float) else None for one in given)
    series = tuple(one.value for one in given if not isinstance(one.value, float | str))
    if not series:
        return _fold_constants(function, numbers, source, at)
    called = function.function if len(series) == len(given) else BoundFunction(function.function, numbers)
    definition = {"function": name, "numbers": list(numbers)}
    return build_node(Pointwise(called, exact=function.exact), series, definition).output()


def select_where(
    given: tuple[CompiledExpression, CompiledExpression, CompiledExpression], source: SourceText
) -> Value:
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
    return build_node(Where((None, first, second)), series, definition).output()


def lagged(given: CompiledExpression, bars: int, source: SourceText) -> Column:
    """Shift the series by `bars` bars of the symbol."""
    series = source.series(given)
    if bars == 0:
        return series
    return build_node(Lag(bars), (series,), {"function": "lag", "bars": bars}).output()


def across_universe(
    name: str, given: CompiledExpression, by: CompiledExpression | None, source: SourceText
) -> Column:
    """Apply a function to all symbols of a bar, or to those of each group."""
    series = (source.series(given),)
    if by is None:
        return build_node(CrossSection(UNIVERSE_FUNCTIONS[name]), series, {"function": name}).output()
    groups = source.series(by)
    return build_node(
        CrossSection(GroupedFunction(UNIVERSE_FUNCTIONS[name])), (*series, groups), {"function": name}
    ).output()


def _fold_constants(
    function: BuiltinFunction, numbers: tuple[float | None, ...], source: SourceText, at: Expression
) -> float:
    with np.errstate(all="ignore"):
        value = float(function.function(*(np.float64(number or 0.0) for number in numbers)))
    if not np.isfinite(value):
        raise source.error("these numbers give no finite number", at)
    return value


def resampled(series: Column, count: int, unit: str) -> Column:
    """Compute the series on coarser bars, visible only after they have closed."""
    node = on_coarser_bars(series, f"{count}{unit}")
    return build_node(node.operator, node.arguments, node.definition).output()
