"""What formulas of tests may name: the catalogue, an indicator with two outputs, and other formulas."""

from __future__ import annotations

from collections.abc import Callable

from alphaloop.errors import UnknownNameError
from features import catalogue
from features.engine.indicator import Indicator, indicator
from features.engine.operator import Operator
from features.engine.operators.pointwise import Pointwise
from features.formula.compiler import CompiledFormula, compile_formula
from features.formula.parser import parse_formula
from features.formula.syntax import Formula


@indicator(inputs=("close", "benchmark"), outputs=("upper", "lower"))
def spread(scale: float = 2.0, kind: str = "simple") -> Operator:
    """Close and benchmark apart."""
    return Pointwise(lambda close, other: (close + scale * other, close - scale * other), ("upper", "lower"))


def resolver(**formulas: str) -> Callable[[str], Indicator | Formula]:
    """Names of the catalogue, `spread`, and these formulas."""

    def resolve(name: str) -> Indicator | Formula:
        if name in formulas:
            return parse_formula(f"{name} = {formulas[name]}")
        if name == "spread":
            return spread
        try:
            return catalogue.find_indicator(name)
        except UnknownNameError as error:
            raise UnknownNameError("feature", name, (*error.known, *formulas)) from error

    return resolve


def understood(text: str, **formulas: str) -> CompiledFormula:
    return compile_formula(parse_formula(text), resolver(**formulas))
