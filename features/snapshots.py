"""Snapshots: stored sets of bars under the hash of their content.

A snapshot is a base (`save`) or a parent plus rows that came later (`append`); live days are deltas.
The id is SHA-256 over the parent's id, the source's name and the values of the columns, so it does not
depend on how the file is encoded, and an id vouches for every row before it. It is computed anew on
each load.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaloop.errors import DamagedStoreError, DataError, UnknownNameError
from alphaloop.market import BARS_SCHEMA

HEADER = b"alphaloop.snapshot"
SUFFIX = ".parquet"
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored set of bars: `rows`, `first` and `last` count the parents' rows too."""

    id: str
    parent: str | None
    source: str
    rows: int
    first: datetime
    last: datetime
    path: Path


class SnapshotStore:
    """Snapshots in a folder, one Parquet file for each base or delta. Nothing is made before `save`."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._known: dict[str, Snapshot] = {}

    def save(self, table: pa.Table, source: str) -> Snapshot:
        """Store a base. Storing the same bars again gives the same snapshot. `DataError` if it is empty."""
        return self._write(_normalised(table), None, source)

    def append(self, parent_id: str, table: pa.Table) -> Snapshot:
        """Store rows that follow `parent_id`; `DataError` unless all of them are later than its last."""
        parent = self.describe(parent_id)
        delta = _normalised(table)
        first = pc.min(delta["timestamp"]).as_py()
        if first <= parent.last:
            raise DataError(
                f"bars of {first.isoformat()} cannot be appended to snapshot {parent_id[:12]}, "
                f"which reaches to {parent.last.isoformat()}; append later bars, or save a new base"
            )
        return self._write(delta, parent, parent.source)

    def load(self, snapshot_id: str) -> pa.Table:
        """All bars of a snapshot, verified; `DamagedStoreError` names the file that does not fit its id."""
        parts: list[pa.Table] = []
        wanted: str | None = snapshot_id
        while wanted is not None:
            table, header = self._read(wanted)
            parts.append(table)
            wanted = header["parent"]
        table = pa.concat_tables(reversed(parts)).combine_chunks()
        described = self.describe(snapshot_id)
        if table.num_rows != described.rows or _last(table) != described.last.isoformat():
            raise _damaged(described.path, "its header does not describe its bars")
        return table

    def describe(self, snapshot_id: str) -> Snapshot:
        """What is stored under an id; `UnknownNameError` if nothing is."""
        if snapshot_id not in self._known:
            path = self._existing(snapshot_id)
            try:
                self._known[snapshot_id] = _snapshot(snapshot_id, _header(pq.read_schema(path)), path)
            except _UNREADABLE as error:
                raise _damaged(path, error) from error
        return self._known[snapshot_id]

    def latest(self, source: str | None = None) -> Snapshot | None:
        """The snapshot that was stored last, of `source` if one is named."""
        heads = [head for head in self._heads() if source in (None, _source_of(head))]
        if not heads:
            return None
        newest = max(heads, key=lambda head: head.stat().st_mtime_ns)
        return self.describe(newest.read_text().strip())

    def _heads(self) -> list[Path]:
        return list(self._folder.glob("*.head"))

    def _existing(self, snapshot_id: str) -> Path:
        path = self._folder / (snapshot_id + SUFFIX)
        if not path.is_file():
            known = (head.read_text().strip()[:12] + "…" for head in self._heads())
            raise UnknownNameError("snapshot", snapshot_id, known, where=str(self._folder))
        return path

    def _write(self, table: pa.Table, parent: Snapshot | None, source: str) -> Snapshot:
        identity = _identity(parent.id if parent else None, source, table)
        path = self._folder / (identity + SUFFIX)
        header = _describe(table, parent, source)
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            tagged = table.replace_schema_metadata({HEADER: json.dumps(header).encode()})
            partial = _partial(path)
            pq.write_table(tagged, partial, compression="zstd", use_dictionary=["symbol"])
            os.replace(partial, path)
        self._point_head(source, identity)
        self._known[identity] = _snapshot(identity, header, path)
        return self._known[identity]

    def _point_head(self, source: str, identity: str) -> None:
        head = self._folder / (quote(source, safe="") + ".head")
        partial = _partial(head)
        partial.write_text(identity + "\n")
        os.replace(partial, head)

    def _read(self, snapshot_id: str) -> tuple[pa.Table, dict[str, Any]]:
        path = self._existing(snapshot_id)
        try:
            table = pq.ParquetFile(path).read(use_threads=False)
            header = _header(table.schema)
            table = table.replace_schema_metadata(None).cast(BARS_SCHEMA)
        except _UNREADABLE as error:
            raise _damaged(path, error) from error
        if _identity(header["parent"], header["source"], table) != snapshot_id:
            raise _damaged(path, "its content does not hash to its name")
        return table, header


def content_hash(table: pa.Table) -> str:
    """SHA-256 over names, types, nulls and values of the columns, whatever their encoding or chunking."""
    digest = hashlib.sha256(str(table.num_rows).encode())
    for field in BARS_SCHEMA:
        column = table[field.name].cast(field.type)
        digest.update(f"|{field.name}:{field.type}|".encode())
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        digest.update(_values(column))
    return digest.hexdigest()


def _values(column: pa.ChunkedArray) -> bytes:
    if pa.types.is_string(column.type):
        texts = column.to_pylist()
        lengths = np.array([len(text.encode()) for text in texts], dtype="<i4")
        return lengths.tobytes() + "".join(texts).encode()
    if pa.types.is_timestamp(column.type):
        return bytes(column.cast(pa.int64()).to_numpy().astype("<i8"))
    return bytes(column.fill_null(0.0).to_numpy().astype("<f8"))


def _identity(parent: str | None, source: str, table: pa.Table) -> str:
    chained = json.dumps([parent, source, content_hash(table)])
    return hashlib.sha256(chained.encode()).hexdigest()


def _normalised(table: pa.Table) -> pa.Table:
    if table.num_rows == 0:
        raise DataError("a snapshot needs bars, and this table has no rows")
    try:
        return table.select(BARS_SCHEMA.names).replace_schema_metadata(None).cast(BARS_SCHEMA)
    except (KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"this table is no table of bars: {error}; expected {BARS_SCHEMA.names}") from error


def _describe(table: pa.Table, parent: Snapshot | None, source: str) -> dict[str, Any]:
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"))
    first = parent.first if parent else pc.min(times).as_py()
    return {
        "parent": parent.id if parent else None,
        "source": source,
        "rows": table.num_rows + (parent.rows if parent else 0),
        "first": first.isoformat(),
        "last": _last(table),
    }


def _last(table: pa.Table) -> str:
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"))
    return str(pc.max(times).as_py().isoformat())


def _header(schema: pa.Schema) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((schema.metadata or {})[HEADER])
    return header


def _snapshot(identity: str, header: dict[str, Any], path: Path) -> Snapshot:
    times = {name: datetime.fromisoformat(header[name]) for name in ("first", "last")}
    return Snapshot(id=identity, path=path, **{**header, **times})


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name[:24]}.{os.getpid()}.partial")


def _source_of(head: Path) -> str:
    return unquote(head.stem)


def _damaged(path: Path, why: object) -> DamagedStoreError:
    return DamagedStoreError(f"snapshot file {path} is damaged ({why}); fetch its bars anew and save them")
