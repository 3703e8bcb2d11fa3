"""The chain of a stream: each record holds the hash of the one before.

`alphaloop.journal.anchors` keeps the heads outside of the database; `alphaloop.journal.verification` checks
both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

GENESIS_HASH = "0" * 64
"""The `previous` hash of a stream's first record."""

TEXT_FIELDS = ("stream", "at", "kind", "body", "previous", "hash")
NUMBER_FIELDS = ("seq", "epoch")


def chain_hash(stream: str, seq: int, at: str, kind: str, epoch: int, body: str, previous: str) -> str:
    """Hash every stored field and the hash of the previous record with SHA-256.

    The fields are framed as a JSON list, so that no two different records give the same bytes.
    """
    framed = json.dumps([stream, seq, at, kind, epoch, body, previous], separators=(",", ":"))
    return hashlib.sha256(framed.encode("ascii")).hexdigest()


def row_hash(row: Mapping[str, Any]) -> str:
    """Compute the hash that a stored row should have; `ValueError` or `TypeError` for damaged fields."""
    return chain_hash(
        row["stream"], row["seq"], row["at"], row["kind"], row["epoch"], row["body"], row["previous"]
    )


def broken_link(
    rows: Sequence[Mapping[str, Any]], after: int = 0, head: str = GENESIS_HASH
) -> tuple[str | None, int | None]:
    """Find the first record that does not follow from the previous one: the problem, and its number.

    `rows` are the records of one stream in their order, that follow record `after` with the hash `head`.
    Both results are None where the chain holds.
    """
    expected, previous, epoch = after + 1, head, 0
    for row in rows:
        for name in (*TEXT_FIELDS, *NUMBER_FIELDS):
            if not isinstance(row[name], int if name in NUMBER_FIELDS else str):
                return f"record {expected}: '{name}' holds {row[name]!r}, which was never written", expected
        if row["seq"] != expected:
            return f"record {expected} is missing; record {row['seq']} stands in its place", expected
        if row["previous"] != previous:
            return f"record {expected} does not follow record {expected - 1}: the link differs", expected
        if row_hash(row) != row["hash"]:
            return f"record {expected} was changed: its hash is not that of its fields", expected
        if row["epoch"] < epoch:
            return f"record {expected} was written under a lease that had been lost", expected
        expected, previous, epoch = expected + 1, row["hash"], row["epoch"]
    return None, None
