"""Columns of a snapshot, and the hash of their values.

The id of a snapshot is SHA-256 over its parent's id, the source's name and this hash. A table with only the
columns of `BARS_SCHEMA` hashes as it did before further columns existed.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, DISPUTED_COLUMN, PROVIDER_COLUMN
from alphaloop.errors import DataError


def normalise_bars(table: pa.Table) -> pa.Table:
    """Convert `table` to the stored types and order of columns.

    `provider` becomes text, `disputed` a boolean, and any further column float64; null in the first two
    becomes the empty text and False. `DataError` if it is no table of bars.
    """
    if table.num_rows == 0:
        raise DataError("a snapshot needs bars, and this table has no rows")
    try:
        schema = stored_schema(table.schema.names)
        stored = table.select(schema.names).replace_schema_metadata(None).cast(schema)
    except (KeyError, pa.ArrowException) as error:
        raise DataError(f"this table is no table of bars: {error}; expected {BARS_SCHEMA.names}") from error
    return fill_nulls(stored)


def stored_schema(names: list[str]) -> pa.Schema:
    """Return the schema of a stored table: columns of bars first, others by name."""
    fields = list(BARS_SCHEMA)
    kinds = {PROVIDER_COLUMN: pa.string(), DISPUTED_COLUMN: pa.bool_()}
    further = sorted(set(names) - set(BARS_SCHEMA.names))
    return pa.schema([*fields, *(pa.field(name, kinds.get(name, pa.float64())) for name in further)])


def fill_nulls(table: pa.Table) -> pa.Table:
    """Return `table` with the nulls of `provider` and `disputed` filled with "" and False."""
    for name, absent in ((PROVIDER_COLUMN, ""), (DISPUTED_COLUMN, False)):
        if name in table.schema.names:
            index = table.schema.get_field_index(name)
            table = table.set_column(index, table.schema.field(index), table[name].fill_null(absent))
    return table


def compute_snapshot_id(parent: str | None, source: str, table: pa.Table) -> str:
    """Return the id of a snapshot with `table` as its own rows."""
    chained = json.dumps([parent, source, content_hash(table)])
    return hashlib.sha256(chained.encode()).hexdigest()


def content_hash(table: pa.Table) -> str:
    """Return the SHA-256 of names, types, nulls and values of the columns.

    The hash does not depend on encoding or chunking.
    """
    digest = hashlib.sha256(str(table.num_rows).encode())
    for field in stored_schema(table.schema.names):
        column = table[field.name].cast(field.type)
        digest.update(f"|{field.name}:{field.type}|".encode())
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        digest.update(_values(column))
    return digest.hexdigest()


def _values(column: pa.ChunkedArray) -> bytes:
    if pa.types.is_string(column.type):
        texts = column.to_pylist()
        encoded = [(text or "").encode() for text in texts]
        lengths = np.array([len(text) for text in encoded], dtype="<i4")
        return lengths.tobytes() + b"".join(encoded)
    if pa.types.is_timestamp(column.type):
        return bytes(column.cast(pa.int64()).to_numpy().astype("<i8"))
    if pa.types.is_boolean(column.type):
        return np.packbits(column.fill_null(False).to_numpy()).tobytes()
    return bytes(column.fill_null(0.0).to_numpy().astype("<f8"))
