"""Printer: the canonical text of a syntax tree, and the name of its column."""

from __future__ import annotations

from features.formula.formula_error import FormulaError
from features.formula.parser import ATOM, COARSER, MINUS, NOT, POWER, RANKS
from features.formula.syntax import (
    Binary,
    Call,
    Coarser,
    Expression,
    Extra,
    Formula,
    Name,
    Number,
    Output,
    Power,
    Text,
    Unary,
)


def canonical_text(expression: Expression) -> str:
    """Return the canonical text of a tree.

    Spaces, parentheses and keyword order of the original text do not matter:
    `parse(canonical(expression)).expression == expression`. Defaults are filled in by the compiler, which
    knows the indicators.
    """
    match expression:
        case Number(value):
            spelled = number_text(value)
        case Text(value):
            spelled = f'"{value}"' if "'" in value else f"'{value}'"
        case Name(name):
            spelled = name
        case Extra(name):
            spelled = f"data.{name}"
        case Call(name, arguments, keywords):
            inside = [canonical_text(one) for one in arguments]
            inside += [f"{keyword}={canonical_text(value)}" for keyword, value in keywords]
            spelled = f"{name}({', '.join(inside)})"
        case Output(of, output):
            spelled = f"{canonical_text(of)}.{output}"
        case Unary(operator, operand):
            sign = "-" if operator == "-" else "not "
            spelled = sign + _within(operand, _rank(expression) - 1)
        case Binary(operator, left, right):
            rank = _rank(expression)
            # Comparisons do not chain: one inside another needs parentheses on either side.
            chains = rank == RANKS["<"]
            spelled = f"{_within(left, rank - (not chains))} {operator} {_within(right, rank)}"
        case Power(base, exponent):
            spelled = f"{_within(base, POWER)} ** {exponent}"
        case Coarser(of, count, unit):
            spelled = f"{_within(of, COARSER - 1)} @ {count}{unit}"
    return spelled


def number_text(value: float) -> str:
    """Return the shortest text that parses to this number; whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def column_name(formula: Formula) -> str:
    """Return the formula's own name, or one derived from a plain call.

    `rsi(14) @ 1w` becomes `rsi_14_at_1w`. Raises `FormulaError` for any other formula without a name.
    """
    if formula.name is not None:
        return formula.name
    return "_".join(_words(formula.expression, formula.text))


def _words(expression: Expression, text: str) -> list[str]:
    match expression:
        case Name(name):
            return [name]
        case Extra(name):
            return ["data", name]
        case Number(value):
            return [_word(value)]
        case Unary("-", Number(value)):
            return [f"minus_{_word(value)}"]
        case Text(value) if value.isidentifier() and value.isascii():
            return [value]
        case Call(name, arguments, keywords):
            inside = [word for one in arguments for word in _words(one, text)]
            for keyword, given in keywords:
                inside += [keyword, *_words(given, text)]
            return [name, *inside]
        case Output(of, output):
            return [*_words(of, text), output]
        case Coarser(of, count, unit):
            return [*_words(of, text), "at", f"{count}{unit}"]
    raise FormulaError(
        f"this is no plain call, so it needs a name: name = {canonical_text(expression)[:40]}",
        text,
        expression.span.start,
    )


def _word(value: float) -> str:
    return number_text(value).replace("+", "").replace("-", "minus").replace(".", "p")


def _rank(expression: Expression) -> int:
    match expression:
        case Unary(operator):
            return MINUS if operator == "-" else NOT
        case Binary(operator):
            return RANKS[operator]
        case Power():
            return POWER
        case Coarser():
            return COARSER
        case _:
            return ATOM


def _within(expression: Expression, above: int) -> str:
    """Return the text, in parentheses unless the expression binds tighter than `above`."""
    spelled = canonical_text(expression)
    return spelled if _rank(expression) > above else f"({spelled})"
