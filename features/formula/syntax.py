"""Syntax tree of a formula, as frozen values.

Trees compare equal regardless of their position in the text (`span`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_DEPTH = 64


class Span(NamedTuple):
    """Positions in the text: of the first character, and of the one after the last."""

    start: int = 0
    end: int = 0


NO_SPAN = Span()


@dataclass(frozen=True)
class Number:
    """A number without a sign, finite and at least zero."""

    value: float
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Text:
    """A string between quotes."""

    value: str
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Name:
    """A column of the bars, an indicator with its defaults, or another named formula."""

    name: str
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Extra:
    """`data.name`: a further column of the bars."""

    name: str
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Call:
    """`name(arguments, keyword=value)`; keywords are sorted, so that their order does not matter."""

    name: str
    arguments: tuple[Expression, ...] = ()
    keywords: tuple[tuple[str, Expression], ...] = ()
    span: Span = field(default=NO_SPAN, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keywords", tuple(sorted(self.keywords, key=lambda pair: pair[0])))


@dataclass(frozen=True)
class Output:
    """`.output` of an indicator that has several outputs."""

    of: Name | Call
    output: str
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Unary:
    """`-operand` or `not operand`."""

    operator: str
    operand: Expression
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Binary:
    """`left operator right`; `span` is the operator's, so that a division by zero is shown there."""

    operator: str
    left: Expression
    right: Expression
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Power:
    """`base ** exponent`, with a whole exponent of at least 1."""

    base: Expression
    exponent: int
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


@dataclass(frozen=True)
class Coarser:
    """`of @ 1w`: `of` on bars of `count` minutes (m), hours (h), days (d), weeks (w) or months (M)."""

    of: Expression
    count: int
    unit: str
    span: Span = field(default=NO_SPAN, compare=False, repr=False)


Expression: TypeAlias = Number | Text | Name | Extra | Call | Output | Unary | Binary | Power | Coarser


@dataclass(frozen=True)
class Formula:
    """An expression with its name (`name = expression`), if any, and the text of both."""

    expression: Expression
    name: str | None = None
    text: str = field(default="", compare=False)


def child_expressions(expression: Expression) -> tuple[Expression, ...]:
    """Return the direct children of an expression, in the order of the text."""
    match expression:
        case Call():
            return (*expression.arguments, *(value for _, value in expression.keywords))
        case Output() | Coarser():
            return (expression.of,)
        case Unary():
            return (expression.operand,)
        case Binary():
            return (expression.left, expression.right)
        case Power():
            return (expression.base,)
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and all its descendants, from the left."""
    waiting = [expression]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(reversed(child_expressions(here)))
