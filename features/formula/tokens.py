"""Tokens of a formula: numbers, strings, names, periods and operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from features.formula.formula_error import FormulaError

MAX_FORMULA_LENGTH = 4_000
Kind = Literal["number", "period", "string", "name", "sign", "end"]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<period>[0-9]+[mhdwM](?![A-Za-z0-9_]))
    | (?P<number>[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<string>'[^'\r\n]*'|"[^"\r\n]*")
    | (?P<sign>\*\*|<=|>=|==|!=|[-+*/<>=(),.@])""",
    re.VERBOSE,
)
_WORD = re.compile(r"[A-Za-z0-9_]+")
_HINTS = {"^": "a power is written **", "&": "write and", "|": "write or", "!": "write not", "~": "write not"}


@dataclass(frozen=True)
class Token:
    """A token of the text between the positions `start` and `end`."""

    kind: Kind
    text: str
    start: int
    end: int


def tokenize(text: str) -> tuple[Token, ...]:
    """Split `text` into tokens, the last of kind `end`.

    Raises `FormulaError` for a text that is too long, an unknown character, a string that does not end and a
    number that runs into a name.
    """
    if len(text) > MAX_FORMULA_LENGTH:
        raise FormulaError(
            f"a formula has at most {MAX_FORMULA_LENGTH} characters, this one {len(text)}; name parts of it",
            text,
            MAX_FORMULA_LENGTH,
        )
    result: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _stray(text, position)
        kind, start, position = match.lastgroup, position, match.end()
        if kind == "number":
            _alone(text, start, position)
        if kind != "space":
            result.append(Token(kind, match.group(), start, position))  # type: ignore[arg-type]
    result.append(Token("end", "", len(text), len(text)))
    return tuple(result)


def _alone(text: str, start: int, end: int) -> None:
    word = _WORD.match(text, end)
    if word is not None:
        raise FormulaError(f"the number {text[start:end]} runs into '{word.group()[:24]}'", text, start)


def _stray(text: str, position: int) -> FormulaError:
    character = text[position]
    if character in "'\"":
        return FormulaError(f"this string has no closing {character}", text, position)
    hint = f"; {_HINTS[character]}" if character in _HINTS else ""
    return FormulaError(f"the character {character!a} has no place in a formula{hint}", text, position)
