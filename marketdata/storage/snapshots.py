"""Snapshots: stored sets of bars under the hash of their content.

A snapshot is a base (`save`) or a parent plus rows that came later (`append`); live days are deltas.
The id is SHA-256 over the parent's id, the source's name and the values of the columns, so it does not
depend on the encoding of the file, and an id vouches for every row before it. It is recomputed on each
load.

Each source has a head, which names its newest snapshot. In a store that several machines share, a delta also
claims the place after its parent, so that a parent has one successor: a process that lost its role and
writes late is refused, and a head that such a process sets back is followed forward again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaloop.bars import calendar_of, with_calendar
from alphaloop.errors import AlphaloopError, DamagedStoreError, DataError, UnknownNameError
from alphaloop.storage.object_store import MissingObjectError, ObjectStore, StoredObject, claim
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import create_table, open_table
from marketdata.storage.snapshot_content import (
    compute_snapshot_id,
    content_hash,
    fill_nulls,
    normalise_bars,
    stored_schema,
)

__all__ = ["Snapshot", "SnapshotStore", "content_hash"]
HEADER = b"alphaloop.snapshot"
SUFFIX, HEAD_SUFFIX, SUCCESSOR_SUFFIX = ".parquet", ".head", ".next"
# Most file systems refuse longer file names, the ending included.
MAX_FILE_NAME = 240
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored set of bars.

    Attributes
    ----------
    id
        SHA-256 over parent, source and content, as hexadecimal text.
    parent
        Id of the snapshot that this delta follows; None for a base.
    source
        Identity of the source, see `marketdata.source.identity_of`.
    rows
        Number of bars, the parents' included.
    first, last
        Earliest and latest close, the parents' included, aware.
    path
        File of the snapshot's own rows; its URL where it is in a bucket.
    calendar
        Calendar of the bars' days; empty where it is not known.
    records
        SHA-256 of the files of records (members, sectors, …) that are columns of the bars, by setting, as
        they were when these rows were stored; empty where there are none.
    """

    id: str
    parent: str | None
    source: str
    rows: int
    first: datetime
    last: datetime
    path: Path | str
    calendar: str = ""
    records: Mapping[str, str] = field(default_factory=dict)


class SnapshotStore:
    """Snapshots in a folder or a bucket, one Parquet file for each base or delta.

    Nothing is created before `save`. A failed write, on a full disk for instance, raises `InputError` and
    leaves earlier files untouched.

    Parameters
    ----------
    location
        Folder of the files, which need not exist yet, or `s3://bucket/prefix`, or a store.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from marketdata.source import bars_table
    >>> from marketdata.storage.snapshots import SnapshotStore
    >>> closes = np.array(["2020-01-02T21:00", "2020-01-03T21:00"], dtype="datetime64[ns]")
    >>> columns = {name: np.array([10.0, 11.0]) for name in ("open", "high", "low", "close", "volume")}
    >>> table = bars_table("XYZ", closes, {**columns, "adjustment": np.ones(2)})
    >>> with TemporaryDirectory() as folder:
    ...     store = SnapshotStore(Path(folder))
    ...     snapshot = store.save(table, "example")
    ...     store.load(snapshot.id).num_rows
    2
    """

    def __init__(self, location: str | Path | ObjectStore) -> None:
        self._store = open_store(location)
        self._known: dict[str, Snapshot] = {}

    @property
    def objects(self) -> ObjectStore:
        """The store of the files, for what is kept beside them."""
        return self._store

    def save(self, table: pa.Table, source: str, records: Mapping[str, str] | None = None) -> Snapshot:
        """Store a base. Storing the same bars again gives the same snapshot.

        `records` are the digests of the files whose content is in columns of the bars. `DataError` if the
        table is empty or no table of bars.
        """
        return self._write(normalise_bars(table), None, source, calendar_of(table), records)

    def append(self, parent_id: str, table: pa.Table, records: Mapping[str, str] | None = None) -> Snapshot:
        """Store rows that `parent_id` lacks: later bars, and late bars.

        `DataError` for a bar of a symbol and time that the parent has; in a shared store `LateWriteError`
        where another process has continued the parent with other bars.
        """
        parent = self.describe(parent_id)
        delta = normalise_bars(table)
        if pc.min(delta["timestamp"]).as_py() <= parent.last:
            self._require_missing(parent, delta)
        return self._write(delta, parent, self._source_of_newest(parent), parent.calendar, records)

    def load(self, snapshot_id: str) -> pa.Table:
        """Return all bars of a snapshot, verified.

        Further columns that only some of its parts have are null in the others. `DamagedStoreError` names the
        file that does not fit its id, `UnknownNameError` an id that is not stored.
        """
        parts: list[pa.Table] = []
        next_id: str | None = snapshot_id
        while next_id is not None:
            table, header = self._read(next_id)
            parts.append(table)
            next_id = header["parent"]
        late = any(
            pc.min(part["timestamp"]).as_py() <= pc.max(parent["timestamp"]).as_py()
            for part, parent in pairwise(parts)
        )
        table = pa.concat_tables(reversed(parts), promote_options="default").combine_chunks()
        if late:
            table = table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
        table = fill_nulls(table.select(stored_schema(table.schema.names).names))
        described = self.describe(snapshot_id)
        if table.num_rows != described.rows or _last(table) != described.last.isoformat():
            raise _damaged(described.path, "its header does not describe its bars")
        return with_calendar(table, described.calendar)

    def load_after(self, snapshot_id: str, ancestor_id: str) -> pa.Table:
        """Return the bars that were appended between two snapshots, verified; it reads nothing older.

        Raises `UnknownNameError` where `ancestor_id` is none of the snapshots that `snapshot_id` was appended
        to, `DamagedStoreError` for a file that does not fit its id.
        """
        parts: list[pa.Table] = []
        link: str | None = snapshot_id
        while link != ancestor_id:
            if link is None:
                raise UnknownNameError("ancestor", ancestor_id, (), hint=f"{snapshot_id} has none of that id")
            table, header = self._read(link)
            parts.append(table)
            link = header["parent"]
        if not parts:
            return stored_schema([]).empty_table()
        return fill_nulls(pa.concat_tables(reversed(parts), promote_options="default").combine_chunks())

    def describe(self, snapshot_id: str) -> Snapshot:
        """Return the description stored under an id; `UnknownNameError` if there is none."""
        if snapshot_id not in self._known:
            path = self._path(snapshot_id)
            try:
                header = _header(self._open(snapshot_id).schema_arrow)
                self._known[snapshot_id] = _snapshot(snapshot_id, header, path)
            except _UNREADABLE as error:
                raise _damaged(path, error) from error
        return self._known[snapshot_id]

    def records_of(self, snapshot_id: str) -> dict[str, list[str]]:
        """Return the digests of the files of records behind a snapshot, by setting, oldest first.

        There are several of a file that was added to between the snapshot's base and its last delta.
        """
        records: dict[str, list[str]] = {}
        link: str | None = snapshot_id
        while link is not None:
            described = self.describe(link)
            for name, digest in described.records.items():
                if digest not in records.setdefault(name, []):
                    records[name].insert(0, digest)
            link = described.parent
        return records

    def latest(self, source: str | None = None) -> Snapshot | None:
        """Return the snapshot stored last, of `source` if one is named; None where there is none."""
        if source is not None:
            newest = self._newest(_head_name(source))
            return None if newest is None else self.describe(newest)
        heads = self._heads()
        if not heads:
            return None
        last = max(heads, key=lambda head: head.written)
        return self.describe(self._read_head(last.name)[0])

    def rename(self, former: str, source: str) -> Snapshot | None:
        """Make the newest snapshot of `former` the newest of `source`, and return it.

        The snapshot itself is unchanged; later deltas belong to `source`.
        """
        newest = self.latest(former)
        if newest is not None:
            self._point(source, newest.id)
            self._store.delete(_head_name(former))
        return newest

    def heads(self) -> set[str]:
        """Return the id of each source's newest snapshot."""
        return {self._read_head(head.name)[0] for head in self._heads()}

    def stored(self) -> Iterator[Snapshot]:
        """Yield every snapshot."""
        for name in self._store.names():
            stem = name.removesuffix(SUFFIX)
            if stem != name and "." not in stem:
                yield self.describe(stem)

    def forget(self, snapshot_id: str) -> None:
        """Remove the file of one snapshot; `marketdata.storage.retention` decides which."""
        if self._store.shared:
            parent = self.describe(snapshot_id).parent
            if parent is not None and self._successor(parent) == snapshot_id:
                self._store.delete(parent + SUCCESSOR_SUFFIX)
            self._store.delete(snapshot_id + SUCCESSOR_SUFFIX)
        self._known.pop(snapshot_id, None)
        self._store.delete(snapshot_id + SUFFIX)

    def _heads(self) -> list[StoredObject]:
        return [one for one in self._store.listed() if one.name.endswith(HEAD_SUFFIX)]

    def _read_head(self, name: str) -> tuple[str, str]:
        """Return the id of a source's newest snapshot, and the source."""
        head, *names = self._store.read(name).decode().split("\n")
        newest = head.strip()
        while (successor := self._successor(newest)) is not None:
            newest = successor
        return newest, next(filter(None, names), unquote(name.removesuffix(HEAD_SUFFIX)))

    def _newest(self, head: str) -> str | None:
        try:
            return self._read_head(head)[0]
        except MissingObjectError:
            return None

    def _successor(self, snapshot_id: str) -> str | None:
        """Return the delta that claimed the place after a snapshot; None in a store of one machine."""
        if not self._store.shared:
            return None
        try:
            return self._store.read(snapshot_id + SUCCESSOR_SUFFIX).decode()
        except MissingObjectError:
            return None

    def _point(self, source: str, snapshot_id: str) -> None:
        """Make a snapshot the newest of a source."""
        head = _head_name(source)
        # A source name that is too long for a file name is written into the file.
        name = "" if unquote(head.removesuffix(HEAD_SUFFIX)) == source else source + "\n"
        self._store.replace(head, f"{snapshot_id}\n{name}".encode())

    def _source_of_newest(self, parent: Snapshot) -> str:
        """Return the source with `parent` as its newest snapshot, else the source stored in `parent`."""
        if self._newest(_head_name(parent.source)) == parent.id:
            return parent.source
        heads = (self._read_head(head.name) for head in self._heads())
        newest = {source: snapshot_id for snapshot_id, source in heads}
        named = [source for source, snapshot_id in newest.items() if snapshot_id == parent.id]
        return named[0] if named else parent.source

    def _require_missing(self, parent: Snapshot, delta: pa.Table) -> None:
        keys = ["symbol", "timestamp"]
        known = self.load(parent.id).select(keys)
        overlap = delta.select(keys).join(known, keys, join_type="inner")
        if overlap.num_rows:
            raise DataError(
                f"snapshot {parent.id[:12]} has a bar of {overlap['symbol'][0]} at "
                f"{overlap['timestamp'][0].cast(pa.timestamp('us', 'UTC'), safe=False).as_py().isoformat()} "
                "already; append later bars and bars that it lacks, or save a new base"
            )

    def _path(self, snapshot_id: str) -> Path | str:
        address = self._store.address(snapshot_id + SUFFIX)
        return address if self._store.shared else Path(address)

    def _open(self, snapshot_id: str) -> pq.ParquetFile:
        try:
            return open_table(self._store, snapshot_id + SUFFIX)
        except MissingObjectError as error:
            known = (head[:12] + "…" for head in self.heads())
            raise UnknownNameError("snapshot", snapshot_id, known, where=self._store.location) from error

    def _write(
        self,
        table: pa.Table,
        parent: Snapshot | None,
        source: str,
        calendar: str,
        records: Mapping[str, str] | None,
    ) -> Snapshot:
        name = compute_snapshot_id(parent.id if parent else None, source, table)
        header = {**_describe(table, parent, source), "calendar": calendar}
        if records:
            header["records"] = dict(records)
        if not self._store.exists(name + SUFFIX):
            tagged = table.replace_schema_metadata({HEADER: json.dumps(header).encode()})
            create_table(self._store, name + SUFFIX, tagged, compression="zstd", use_dictionary=["symbol"])
        if parent is not None and self._store.shared:
            claim(self._store, parent.id + SUCCESSOR_SUFFIX, name.encode())
        self._point(source, name)
        self._known[name] = _snapshot(name, header, self._path(name))
        return self._known[name]

    def _read(self, snapshot_id: str) -> tuple[pa.Table, dict[str, Any]]:
        path = self._path(snapshot_id)
        try:
            table = self._open(snapshot_id).read(use_threads=False)
            header = _header(table.schema)
            schema = stored_schema(table.schema.names)
            table = table.replace_schema_metadata(None).select(schema.names).cast(schema)
        except _UNREADABLE as error:
            raise _damaged(path, error) from error
        if compute_snapshot_id(header["parent"], header["source"], table) != snapshot_id:
            raise _damaged(path, "its content does not hash to its name")
        return table, header


def _describe(table: pa.Table, parent: Snapshot | None, source: str) -> dict[str, Any]:
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"), safe=False)
    first, last = pc.min(times).as_py(), pc.max(times).as_py()
    if parent:
        first, last = min(first, parent.first), max(last, parent.last)
    return {
        "parent": parent.id if parent else None,
        "source": source,
        "rows": table.num_rows + (parent.rows if parent else 0),
        "first": first.isoformat(),
        "last": last.isoformat(),
    }


def _last(table: pa.Table) -> str:
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"), safe=False)
    return str(pc.max(times).as_py().isoformat())


def _header(schema: pa.Schema) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((schema.metadata or {})[HEADER])
    return header


def _snapshot(name: str, header: dict[str, Any], path: Path | str) -> Snapshot:
    times = {key: datetime.fromisoformat(header[key]) for key in ("first", "last")}
    calendar = header["calendar"] if "calendar" in header else _calendar_of_source(header["source"])
    return Snapshot(id=name, path=path, **{**header, **times, "calendar": calendar})


def _calendar_of_source(source: str) -> str:
    """Return the calendar of a source; empty where there is none.

    Needed for snapshots stored before they named their calendar.
    """
    from marketdata.sources import registry

    try:
        return registry.find_source(source).calendar
    except AlphaloopError:
        return ""


def _head_name(source: str) -> str:
    name = quote(source, safe="")
    if len(name) > MAX_FILE_NAME:
        name = f"{name[:40]}-{hashlib.sha256(source.encode()).hexdigest()}"
    return name + HEAD_SUFFIX


def _damaged(path: Path | str, why: object) -> DamagedStoreError:
    return DamagedStoreError(f"snapshot file {path} is damaged ({why}); fetch its bars anew and save them")
