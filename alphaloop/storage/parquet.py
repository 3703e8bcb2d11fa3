"""Tables in Parquet, as objects of a store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.storage.folder_store import FolderStore
from alphaloop.storage.object_store import ObjectStore, missing


def create_table(store: ObjectStore, name: str, table: pa.Table, **options: Any) -> bool:
    """Store `table` under `name` if the name is free; return whether it was.

    `options` are those of `pyarrow.parquet.write_table`. Errors are those of `ObjectStore.create`.
    """
    return store.create_by(name, lambda path: pq.write_table(table, path, **options))


def table_bytes(table: pa.Table, **options: Any) -> bytes:
    """Return `table` in Parquet; `options` are those of `pyarrow.parquet.write_table`."""
    written = pa.BufferOutputStream()
    pq.write_table(table, written, **options)
    return bytes(written.getvalue().to_pybytes())


def open_table(store: ObjectStore, name: str) -> pq.ParquetFile:
    """Open a table for reading, its schema and its metadata.

    Raises
    ------
    MissingObjectError
        If there is no such object.
    ArrowException
        If it is no Parquet file; the caller knows what was to be in it.
    """
    if not isinstance(store, FolderStore):
        return pq.ParquetFile(store.open(name))
    try:
        # By its path, so that only what is asked for is read.
        return pq.ParquetFile(store.address(name))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing(store.address(name)) from error
