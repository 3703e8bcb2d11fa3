"""Unique keys: the first record of a kind with a value of a field, found without reading the others.

The table is an index that is brought up to date by whoever asks, under the lock of the stream. So it holds
the records of older journals and of every writer, and each record is read for it once. It is no part of the
chain: what it says is compared with the record that it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from alphaloop.errors import DamagedStoreError
from alphaloop.journal.record import Record, canonical_json
from alphaloop.journal.tables import insert_missing, records, unique_keys
from alphaloop.journal.writer import checked_record

UP_TO = ""
"""Key of the row whose number is that of the last record that the other rows know."""


def find_unique(
    connection: sa.Connection, stream: str, kind: str, field: str, body: Mapping[str, Any]
) -> Record | None:
    """Find the first record of `kind` whose `field` has the value that it has in `body`.

    The caller's transaction holds the head of the stream. Raises `DamagedStoreError` where the table names
    a record that has another value.
    """
    _bring_up_to_date(connection, stream, kind, field)
    key = _key(body, field)
    seq = _seq_of(connection, stream, kind, field, key)
    if seq is None:
        return None
    query = sa.select(records).where(records.c.stream == stream, records.c.seq == seq)
    row = connection.execute(query).mappings().one_or_none()
    record = checked_record(dict(row)) if row is not None else None
    if record is None or record.kind != kind or field not in record.body or _key(record.body, field) != key:
        raise DamagedStoreError(
            f"stream '{stream}': record {seq} is not the '{kind}' whose '{field}' the table unique_keys says "
            "it has; delete the rows of that table, which is filled anew from the records"
        )
    return record


def _bring_up_to_date(connection: sa.Connection, stream: str, kind: str, field: str) -> None:
    """Add the keys of records that were written since the table was last asked."""
    known = _seq_of(connection, stream, kind, field, UP_TO)
    query = (
        sa.select(records.c.seq, records.c.body)
        .where(records.c.stream == stream, records.c.kind == kind, records.c.seq > (known or 0))
        .order_by(records.c.seq)
    )
    last = known
    for row in connection.execute(query):
        body = json.loads(row.body)
        if field in body:
            _add(connection, stream, kind, field, _key(body, field), row.seq)
        last = row.seq
    if last is None or last == known:
        return
    _add(connection, stream, kind, field, UP_TO, last)
    connection.execute(unique_keys.update().where(*_is(stream, kind, field, UP_TO)).values(seq=last))


def _seq_of(connection: sa.Connection, stream: str, kind: str, field: str, key: str) -> int | None:
    query = sa.select(unique_keys.c.seq).where(*_is(stream, kind, field, key))
    return connection.execute(query).scalar()


def _add(connection: sa.Connection, stream: str, kind: str, field: str, key: str, seq: int) -> None:
    """Add a key, unless an earlier record has it."""
    row = {"stream": stream, "kind": kind, "field": field, "key": key, "seq": seq}
    insert_missing(connection, unique_keys, row)


def _is(stream: str, kind: str, field: str, key: str) -> tuple[Any, ...]:
    named = unique_keys.c
    return named.stream == stream, named.kind == kind, named.field == field, named.key == key


def _key(body: Mapping[str, Any], field: str) -> str:
    """Return the digest of a value as it is stored; a value may be longer than an index takes."""
    return hashlib.sha256(canonical_json({field: body[field]}).encode("ascii")).hexdigest()
