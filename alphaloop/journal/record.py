"""Records of the journal, and their canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alphaloop.runtime.jsonable import plain_value

ADOPTION_KIND = "adoption"
"""Kind of a record by which a person vouches for unanchored records: `by`, `reason`, `up_to`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of one stream.

    `seq` counts from 1 without gaps; `body` is the stored text of `canonical_json`, parsed. Decimals and
    times in `body` stay strings: the text is what was hashed, and no type is guessed from it.
    """

    stream: str
    seq: int
    at: datetime
    kind: str
    body: dict[str, Any]
    previous: str
    hash: str
    epoch: int


def canonical_json(body: Mapping[str, Any]) -> str:
    """Serialise `body` as its one canonical JSON text: sorted keys, no spaces, ASCII.

    Decimals become strings, times ISO 8601. Raises `ValueError` for NaN and infinity (write `None`) and
    `TypeError` for a value that has no JSON form.
    """
    try:
        return json.dumps(
            body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain
        )
    except ValueError as error:
        raise ValueError(f"a journal body holds no NaN or infinity; write None: {error}") from error


def _plain(value: Any) -> Any:
    """Convert what `json` cannot; it calls this for no other value."""
    plain = plain_value(value)
    if plain is value or isinstance(plain, list):
        raise TypeError(
            f"a journal body cannot hold {value!r} of type {type(value).__name__}; give plain values"
        )
    return plain
