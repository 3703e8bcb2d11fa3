"""Stored vintages: a Parquet file under the hash of its content, beside the snapshots.

A file holds the rows with their publications and names the hash of the corporate actions, which lie in
`marketdata.storage.actions_store`. So one id determines everything known at any time.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.bars import calendar_of, with_calendar
from alphaloop.errors import DamagedStoreError, UnknownNameError
from alphaloop.runtime.atomic_file import replace_file
from marketdata.point_in_time.vintages import PUBLISHED, Vintages
from marketdata.storage.actions_store import ActionsStore, actions_hash
from marketdata.storage.snapshot_content import content_hash

SUFFIX = ".vintages.parquet"
HEADER = b"alphaloop.vintages"
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)


class VintageStore:
    """Vintages in a folder, each under its hash; created by the first `save`."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._actions = ActionsStore(self._folder)

    def save(self, vintages: Vintages) -> str:
        """Store rows and actions, and return the id: the same for the same content."""
        rows, header = _ordered(vintages.rows), _header(vintages)
        self._actions.save(vintages.actions)
        identity = _identity(rows, header)
        path = self._path(identity)
        if not path.is_file():
            tagged = rows.replace_schema_metadata(
                {**(rows.schema.metadata or {}), HEADER: json.dumps(header).encode()}
            )
            replace_file(path, lambda partial: pq.write_table(tagged, partial, compression="zstd"))
        return identity

    def load(self, identity: str) -> Vintages:
        """Return the vintages of an id, verified.

        `UnknownNameError` if nothing is stored under it, `DamagedStoreError` if the content does not fit the
        id.
        """
        path = self._path(identity)
        if not path.is_file():
            known = (
                stored_path.name.removesuffix(SUFFIX)[:12] + "…"
                for stored_path in self._folder.glob("*" + SUFFIX)
            )
            raise UnknownNameError("vintages", identity, known, where=str(self._folder))
        try:
            table = pq.ParquetFile(path).read()
            header = json.loads(table.schema.metadata[HEADER])
            rows = with_calendar(table.replace_schema_metadata(None), calendar_of(table))
            fits = _identity(rows, header) == identity
        except _UNREADABLE as error:
            raise _damaged(path, error) from error
        if not fits:
            raise _damaged(path, "its content does not hash to its name")
        latency = timedelta(microseconds=header["latency"])
        return Vintages(rows, tuple(self._actions.load(header["actions"])), latency, tuple(header["symbols"]))

    def _path(self, identity: str) -> Path:
        return self._folder / (identity + SUFFIX)


def _ordered(rows: pa.Table) -> pa.Table:
    names = sorted(rows.column_names)
    keys = [(name, "ascending") for name in ("timestamp", "symbol", PUBLISHED)]
    return rows.select(names).sort_by(keys).combine_chunks()


def _header(vintages: Vintages) -> dict[str, Any]:
    return {
        "symbols": list(vintages.symbols),
        "latency": vintages.latency // timedelta(microseconds=1),
        "actions": actions_hash(vintages.actions),
    }


def _identity(rows: pa.Table, header: dict[str, Any]) -> str:
    published = rows[PUBLISHED].cast(pa.int64()).to_numpy().astype("<i8").tobytes()
    content = [header, content_hash(rows.drop_columns([PUBLISHED])), hashlib.sha256(published).hexdigest()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, why: object) -> DamagedStoreError:
    return DamagedStoreError(f"{path} is damaged ({why}); fetch its bars anew and save them")
