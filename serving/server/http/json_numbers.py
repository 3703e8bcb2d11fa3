"""Numbers in large JSON bodies, parsed in pieces.

Python's JSON parser blocks all other threads until it has parsed everything, half a second for the largest
body. So the numbers of tensors are cut out of the text and parsed in pieces; the rest is small.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.protocol.errors import RequestTooLargeError
from serving.protocol.messages import InvalidRequestError

# Size limit of the JSON without the numbers of its tensors.
MAX_TEXT_BYTES = 2**17
# A shorter list of numbers is not cut out.
MIN_NUMBERS_BYTES = 2**12
PIECE_BYTES = 2**14
KEY, SPACE = b'"data"', b" \t\r\n"
# Characters of numbers, of null and of the constants that Python's parser knows (NaN, Infinity).
_VALUES = b"0123456789+-.eEnulNaIfity"
_STRUCTURE = b"[],"
_AS_SPACE = bytes.maketrans(b"[]", b"  ")


@dataclass(frozen=True, slots=True)
class UnparsedNumbers:
    """Text of a JSON list of numbers, nested or flat, that is not parsed yet."""

    text: bytes

    def read(self, name: str, shape: Sequence[int], elements: int) -> npt.NDArray[np.float32]:
        """Parse the numbers, float32 `[elements]`, with NaN for null.

        Raises `InvalidRequestError` unless they nest as `shape`, or are a flat list of `elements` numbers.
        """
        structure = b"".join(self._structure(name))
        if structure not in (_flat(elements), _nested(shape)):
            raise nesting_error(name, shape)
        parts = [to_float32(name, _read(name, piece)) for piece in self._pieces()]
        return np.concatenate(parts)

    def _structure(self, name: str) -> Iterator[bytes]:
        """Yield the brackets and commas; raises `InvalidRequestError` for characters that no number has."""
        for piece in self._pieces():
            if piece.translate(None, _VALUES + _STRUCTURE + SPACE):
                raise InvalidRequestError(f"input '{name}' holds what is no number")
            yield piece.translate(None, _VALUES + SPACE)
            yield b","

    def _pieces(self) -> Iterator[bytes]:
        """Yield the text in pieces, cut at commas, without these commas."""
        at = 0
        while at <= len(self.text):
            end = self.text.find(b",", at + PIECE_BYTES)
            end = len(self.text) if end < 0 else end
            yield self.text[at:end]
            at = end + 1


def parse_large_json(body: bytes) -> Any:
    """Parse the JSON of a large body, leaving long lists of numbers unparsed.

    Such lists in the inputs become `UnparsedNumbers`. Raises `RequestTooLargeError` if the rest is too long,
    and `ValueError` if it is not JSON.
    """
    mark = secrets.token_hex(16)
    text, taken = _take_out(body, mark)
    if len(text) > MAX_TEXT_BYTES:
        raise RequestTooLargeError(
            f"the JSON has {len(text)} bytes beside its tensors' numbers, and at most {MAX_TEXT_BYTES}; "
            "send larger tensors as binary data behind it (Inference-Header-Content-Length)"
        )
    content = json.loads(text)
    inputs = content.get("inputs") if isinstance(content, dict) else None
    for one in inputs if isinstance(inputs, list) else ():
        if isinstance(one, dict) and isinstance(one.get("data"), str):
            before, _, number = one["data"].partition(":")
            if before == mark:
                one["data"] = taken[int(number)]
    return content


def to_float32(name: str, values: list[Any]) -> npt.NDArray[np.float32]:
    """Convert JSON's numbers to float32, null to NaN; raises `InvalidRequestError` for anything else."""
    numbers = [math.nan if value is None else value for value in values]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        raise InvalidRequestError(f"input '{name}' holds what is no number")
    try:
        with np.errstate(over="ignore"):
            return np.asarray(numbers, dtype="<f4")
    except OverflowError as error:
        raise InvalidRequestError(f"input '{name}' holds a number that is too large") from error


def nesting_error(name: str, shape: Sequence[int]) -> InvalidRequestError:
    """Build the error for values whose nesting contradicts the shape."""
    return InvalidRequestError(
        f"input '{name}' has shape {list(shape)[:8]}, and its data nest otherwise; "
        "nest lists as the shape says, or send one list of all values"
    )


def _take_out(body: bytes, mark: str) -> tuple[bytes, list[UnparsedNumbers]]:
    """Replace each long list of numbers by a text.

    Returns the new body and the lists.
    """
    kept: list[bytes] = []
    taken: list[UnparsedNumbers] = []
    done = at = 0
    # With more text than that between lists, the kept text exceeds its limit anyway.
    while (key := body.find(KEY, at)) >= 0 and key - done <= MAX_TEXT_BYTES:
        at = key + len(KEY)
        start = _value(body, at)
        # A list of numbers ends before the next text or object.
        end = body.find(b'"', start)
        end = len(body) if end < 0 else end
        end = min([end, *(index for one in b"{}" if (index := body.find(one, start, end)) >= 0)])
        numbers = body[start:end].rstrip(SPACE).removesuffix(b",").rstrip(SPACE)
        if len(numbers) >= MIN_NUMBERS_BYTES and numbers.endswith(b"]") and body[key - 1 : key] != b"\\":
            kept += [body[done:start], f'"{mark}:{len(taken)}"'.encode()]
            taken.append(UnparsedNumbers(numbers))
            done = at = start + len(numbers)
    return b"".join([*kept, body[done:]]), taken


def _value(body: bytes, at: int) -> int:
    """Return the index of the list behind a key that ends at `at`.

    The body's end if there is no list.
    """
    text = body[at : at + 64]
    rest = text.lstrip(SPACE)
    value = rest[1:].lstrip(SPACE) if rest.startswith(b":") else b""
    return at + len(text) - len(value) if value.startswith(b"[") else len(body)


def _read(name: str, piece: bytes) -> list[Any]:
    try:
        values: list[Any] = json.loads(b"[" + piece.translate(_AS_SPACE) + b"]")
    except ValueError as error:
        raise InvalidRequestError(f"input '{name}' holds what is no number: {error}") from error
    return values


def _flat(elements: int) -> bytes:
    """Return the brackets and commas of a list, and the comma that `_structure` appends."""
    return b"[" + b"," * (elements - 1) + b"],"


def _nested(shape: Sequence[int]) -> bytes:
    inner = b""
    for length in reversed(shape):
        inner = b"[" + b",".join([inner] * length) + b"]"
    return inner + b","
