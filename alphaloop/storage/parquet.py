"""Tables in Parquet, as objects of a store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.storage.object_store import ObjectStore


def create_table(store: ObjectStore, name: str, table: pa.Table, **options: Any) -> bool:
    """Store `table` under `name` if the name is free; return whether it was.

    `options` are those of `pyarrow.parquet.write_table`. Errors are those of `ObjectStore.create`.
    """
    return store.create_by(name, lambda path: pq.write_table(table, path, **options))


def open_table(store: ObjectStore, name: str) -> pq.ParquetFile:
    """Open a table for reading, its schema and its metadata.

    Raises
    ------
    MissingObjectError
        If there is no such object.
    ArrowException
        If it is no Parquet file; the caller knows what was to be in it.
    """
    return pq.ParquetFile(store.open(name))
