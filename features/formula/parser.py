"""Parser: from text to syntax tree, by operator precedence (Pratt 1973).

No text is ever run as Python. Precedence from loose to tight: `or`, `and`, `not`, comparisons, `+ -`, `* /`,
unary `-`, `**`, `@`. Operators of one rank bind from the left; comparisons and powers do not chain.
"""

from __future__ import annotations

import math
from typing import NoReturn

from features.formula.formula_error import FormulaError
from features.formula.syntax import (
    MAX_DEPTH,
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
    Span,
    Text,
    Unary,
    child_expressions,
)
from features.formula.tokens import Token, tokenize

OR, AND, NOT, COMPARISON, SUM, PRODUCT, MINUS, POWER, COARSER, ATOM = range(1, 11)
RANKS = {
    "or": OR,
    "and": AND,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), COMPARISON),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys("*/", PRODUCT),
    "**": POWER,
    "@": COARSER,
}
WORDS = ("and", "or", "not", "data")
MAX_EXPONENT = 64
MAX_PERIOD_COUNT = 10_000


def parse_formula(text: str) -> Formula:
    """Parse `text`, which is `expression` or `name = expression`.

    Raises `FormulaError`, which describes the fault and its position.
    """
    return _Parser(text).formula()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._index = 0
        self._groups = 0
        # Depth of each tree built so far, by identity: a chain such as a + b + c grows from the left.
        self._depths: dict[int, tuple[Expression, int]] = {}

    def formula(self) -> Formula:
        name = None
        if len(self._tokens) > 2 and self._tokens[0].kind == "name" and self._tokens[1].text == "=":
            name = self._next().text
            if name in WORDS:
                self._fail(f"'{name}' is a word of the language and cannot be a formula's name", 0)
            self._next()
        if self._tokens[self._index].kind == "end":
            self._fail("there is no formula", len(self._text))
        expression = self._expression(0, 1)
        if self._here.kind != "end":
            self._unexpected("an operator or the formula's end is needed here")
        return Formula(expression, name, self._text)

    @property
    def _here(self) -> Token:
        return self._tokens[self._index]

    def _next(self) -> Token:
        token = self._here
        if token.kind != "end":
            self._index += 1
        return token

    def _expression(self, above: int, depth: int) -> Expression:
        """Parse operators that bind tighter than `above`; the result lies at least `depth` levels deep."""
        if depth > MAX_DEPTH:
            self._too_deep(self._here)
        left = self._prefix(above, depth)
        while True:
            sign = self._here
            rank = RANKS.get(sign.text, 0) if sign.kind in ("sign", "name") else 0
            if rank <= above:
                return left
            self._next()
            left = self._kept(self._infix(left, sign, rank, depth), sign)
            self._no_chain(rank)

    def _prefix(self, above: int, depth: int) -> Expression:
        token = self._here
        if token.kind == "sign" and token.text == "-":
            self._next()
            operand = self._expression(MINUS - 1, depth + 1)
            return self._kept(Unary("-", operand, self._since(token)), token)
        if token.kind == "name" and token.text == "not":
            if above >= NOT:
                self._fail("put `not …` into parentheses here", token.start)
            self._next()
            operand = self._expression(NOT - 1, depth + 1)
            return self._kept(Unary("not", operand, self._since(token)), token)
        return self._atom(depth)

    def _infix(self, left: Expression, sign: Token, rank: int, depth: int) -> Expression:
        if rank == POWER:
            return Power(left, self._exponent(), Span(sign.start, sign.end))
        if rank == COARSER:
            count, unit = self._period()
            return Coarser(left, count, unit, Span(sign.start, self._tokens[self._index - 1].end))
        right = self._expression(rank, depth + 1)
        return Binary(sign.text, left, right, Span(sign.start, sign.end))

    def _no_chain(self, rank: int) -> None:
        follows = RANKS.get(self._here.text, 0) if self._here.kind == "sign" else 0
        if follows != rank:
            return
        if rank == COMPARISON:
            self._fail("comparisons do not chain; join them with `and`", self._here.start)
        if rank == POWER:
            self._fail("powers do not chain; use parentheses", self._here.start)

    def _exponent(self) -> int:
        token = self._next()
        value = _whole(token) if token.kind == "number" else None
        if value is None or not 1 <= value <= MAX_EXPONENT:
            self._fail(f"an exponent is a whole number from 1 to {MAX_EXPONENT}, written out", token.start)
        return value

    def _period(self) -> tuple[int, str]:
        token = self._next()
        if token.kind != "period":
            self._fail("after @ comes a period: a whole number and m, h, d, w or M, as in @ 1w", token.start)
        digits = token.text[:-1].lstrip("0")
        if not digits or len(digits) > 6 or int(digits) > MAX_PERIOD_COUNT:
            self._fail(f"a coarser bar has 1 to {MAX_PERIOD_COUNT} {token.text[-1]}", token.start)
        return int(digits), token.text[-1]

    def _atom(self, depth: int) -> Expression:
        token = self._next()
        span = Span(token.start, token.end)
        if token.kind == "number":
            return self._kept(Number(self._number(token), span), token)
        if token.kind == "string":
            return self._kept(Text(token.text[1:-1], span), token)
        if token.kind == "name" and token.text not in RANKS:
            return self._named(token, depth)
        if token.kind == "sign" and token.text == "(":
            inside = self._group(token, depth)
            if self._is("."):
                self._fail("only an indicator has outputs", self._here.start)
            return inside
        self._index -= token.kind != "end"
        self._unexpected("a value is needed here")

    def _group(self, opened: Token, depth: int) -> Expression:
        self._open(opened)
        inside = self._expression(0, depth)
        self._close(opened)
        return inside

    def _named(self, token: Token, depth: int) -> Expression:
        if token.text == "data":
            return self._extra(token)
        named: Name | Call
        if self._is("("):
            named = self._call(token, depth)
        else:
            named = Name(token.text, Span(token.start, token.end))
        self._kept(named, token)
        if not self._is("."):
            return named
        self._next()
        output = self._identifier("the name of an output is needed after the dot")
        return self._kept(Output(named, output.text, Span(output.start, output.end)), output)

    def _extra(self, token: Token) -> Expression:
        if not self._is("."):
            self._fail("`data` needs the name of a column: data.name", token.start)
        self._next()
        name = self._identifier("the name of a column is needed after `data.`")
        return self._kept(Extra(name.text, self._since(token)), token)

    def _call(self, name: Token, depth: int) -> Call:
        opened = self._next()
        self._open(opened)
        arguments: list[Expression] = []
        keywords: dict[str, Expression] = {}
        while not (self._is(")") and not arguments and not keywords):
            self._argument(arguments, keywords, depth + 1)
            if not self._is(","):
                break
            self._next()
        self._close(opened)
        return Call(name.text, tuple(arguments), tuple(keywords.items()), self._since(name))

    def _argument(self, arguments: list[Expression], keywords: dict[str, Expression], depth: int) -> None:
        token = self._here
        if token.kind == "name" and self._tokens[self._index + 1].text == "=":
            if token.text in keywords:
                self._fail(f"'{token.text}' is given twice", token.start)
            self._index += 2
            keywords[token.text] = self._expression(0, depth)
        elif keywords:
            self._fail("what has no keyword comes before what has one", token.start)
        else:
            arguments.append(self._expression(0, depth))

    def _open(self, token: Token) -> None:
        self._groups += 1
        if self._groups > MAX_DEPTH:
            self._too_deep(token)

    def _close(self, opened: Token) -> None:
        if self._here.kind == "end":
            self._fail("this parenthesis is not closed", opened.start)
        if not self._is(")"):
            self._unexpected("an operator, a comma or a closing parenthesis is needed here")
        self._next()
        self._groups -= 1

    def _number(self, token: Token) -> float:
        value = float(token.text)
        if not math.isfinite(value):
            self._fail(f"the number {_short(token.text)} is too large", token.start)
        return value

    def _identifier(self, needed: str) -> Token:
        token = self._next()
        if token.kind != "name" or token.text in RANKS or token.text == "not":
            self._fail(needed, token.start)
        return token

    def _is(self, sign: str) -> bool:
        return self._here.kind == "sign" and self._here.text == sign

    def _since(self, first: Token) -> Span:
        return Span(first.start, self._tokens[self._index - 1].end)

    def _kept(self, made: Expression, at: Token) -> Expression:
        depth = 1 + max((self._depths[id(part)][1] for part in child_expressions(made)), default=0)
        if depth > MAX_DEPTH:
            self._too_deep(at)
        self._depths[id(made)] = (made, depth)
        return made

    def _unexpected(self, needed: str) -> NoReturn:
        token = self._here
        given = "the formula ends" if token.kind == "end" else f"'{_short(token.text)}' is unexpected"
        self._fail(f"{given}; {needed}", token.start)

    def _too_deep(self, token: Token) -> NoReturn:
        self._fail(
            f"deeper than {MAX_DEPTH} levels; name a part of the formula and use the name", token.start
        )

    def _fail(self, what: str, position: int) -> NoReturn:
        raise FormulaError(what, self._text, position)


def _whole(token: Token) -> int | None:
    value = float(token.text)
    return int(value) if math.isfinite(value) and value.is_integer() else None


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:24]}…"
