"""Errors in formulas, with their position in the text."""

from __future__ import annotations

from alphaloop.errors import InputError

_SHOWN = 60


class FormulaError(InputError):
    """A formula that cannot be read or compiled.

    Parameters
    ----------
    what : str
        Description of the fault.
    text : str
        Text of the formula.
    position : int
        Position of the fault in `text`, in characters from 0.

    Examples
    --------
    >>> from features.formula.formula_error import FormulaError
    >>> print(FormulaError("a series is needed here", "close + 'x'", 8).pointing())
    close + 'x'
            ^ a series is needed here
    """

    def __init__(self, what: str, text: str, position: int) -> None:
        self.what, self.text = what, text
        self.position = min(max(position, 0), len(text))
        shown, _ = _excerpt(text, self.position)
        super().__init__(f"formula `{shown}`, column {self.column}: {what}")

    @property
    def column(self) -> int:
        """Position in the text, counted from 1 as editors do."""
        return self.position + 1

    def pointing(self) -> str:
        """Return two lines: the text, and a caret under the fault with its description.

        Of a long text only the part around the fault is shown.
        """
        shown, place = _excerpt(self.text, self.position)
        return f"{shown}\n{' ' * place}^ {self.what}"


def _excerpt(text: str, position: int) -> tuple[str, int]:
    """Return about sixty characters around the position on one line, and the position therein."""
    first = 0 if len(text) <= _SHOWN else min(max(position - _SHOWN // 2, 0), len(text) - _SHOWN)
    part = text[first : first + _SHOWN]
    before, after = "…" * (first > 0), "…" * (first + _SHOWN < len(text))
    return before + "".join(map(_printable, part)) + after, len(before) + position - first


def _printable(character: str) -> str:
    if character in "\t\r\n":
        return " "
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
