"""Digest of a module's code, by which a journal names the code that decided."""

from __future__ import annotations

import hashlib
import io
import sys
import tokenize
from pathlib import Path

_KEPT = "__alphaloop_code_digest__"
_LAYOUT = {tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.DEDENT, tokenize.ENDMARKER}
_BEFORE_STATEMENT = {tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def code_digest(text: str) -> str:
    """Return the SHA-256 of Python source without comments, docstrings, blank lines and line ends.

    An edit of prose keeps the digest, and any edit of code changes it.

    Parameters
    ----------
    text : str
        Source of a module, with line ends of any system.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    SyntaxError
        For text that Python cannot read.

    Examples
    --------
    >>> code_digest("x = 1  # one") == code_digest("x = 1")
    True
    >>> code_digest("x = 1") == code_digest("x = 2")
    False
    """
    return hashlib.sha256(_normalised(text).encode()).hexdigest()


def module_digest(name: str) -> str:
    """Return the `code_digest` of the imported module `name`; empty for code that is in no file.

    It is computed once and kept with the module, because a file that is edited later is not the code that
    runs.
    """
    module = sys.modules[name]
    if not hasattr(module, _KEPT):
        path = Path(getattr(module, "__file__", None) or "")
        known = path.suffix == ".py" and path.is_file()
        setattr(module, _KEPT, code_digest(path.read_text(encoding="utf-8")) if known else "")
    return str(getattr(module, _KEPT))


def _normalised(text: str) -> str:
    """Join the tokens that matter: the distance between two of a line is one space or none."""
    pieces: list[str] = []
    depth, previous, end = 0, tokenize.ENCODING, (0, 0)
    tokens = list(tokenize.generate_tokens(io.StringIO(text, newline=None).readline))
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        alone = previous in _BEFORE_STATEMENT and following.type in (tokenize.NEWLINE, tokenize.COMMENT)
        if token.type == tokenize.STRING and alone:
            # A docstring; its end of line is left out with it.
            previous = tokenize.STRING
        elif token.type == tokenize.NEWLINE and previous == tokenize.STRING and not _has_text(pieces):
            previous = tokenize.NEWLINE
        elif token.type == tokenize.NEWLINE:
            pieces.append("\n")
            previous = tokenize.NEWLINE
        elif token.type in _LAYOUT or token.type == tokenize.INDENT:
            previous = previous if token.type in (tokenize.COMMENT, tokenize.NL) else token.type
        else:
            gap = " " if token.start != end else ""
            pieces.append((gap if _has_text(pieces) else "\t" * depth) + token.string)
            previous, end = token.type, token.end
    return "".join(pieces)


def _has_text(pieces: list[str]) -> bool:
    """Test whether the line that is being written has begun."""
    return bool(pieces) and pieces[-1] != "\n"
