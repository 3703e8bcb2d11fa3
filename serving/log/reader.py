"""Reader of the prediction log while it grows and its past days are merged.

A merged file names its source files, with their numbers of rows, in order. So a reader knows which of its
rows it has returned already, even if the source files are still there, or gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import DamagedStoreError
from alphaloop.storage.object_store import ObjectStore
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import open_table
from serving.log.prediction_row import (
    DROPPED_KEY,
    PredictionRow,
    complete_table,
    partition_location,
    row_from_dict,
)

SOURCES_KEY = b"alphaloop.sources"
MERGED_PREFIX = "merged-"
SUFFIX = ".parquet"
POLL_SECONDS, SHARED_POLL_SECONDS = 0.005, 0.25


@dataclass(frozen=True, slots=True)
class LogPart:
    """Content of one writer's file: its rows, and the writer's drop count."""

    name: str
    rows: int
    dropped: int


class PredictionLogReader:
    """Incremental reader of one model's prediction log.

    Parameters
    ----------
    location : str or Path
        Folder of the log, or `s3://bucket/prefix`.
    model : str
        Name of the model.
    by_symbols : bool
        Leave out rows of inputs that clients sent themselves.
    since : datetime, optional
        Leave out rows of earlier bars; a log of months has far more rows than a judgement of one day needs.
    on_damage : callable, optional
        Called once with the error of each file that cannot be read, which is then passed over. Without it,
        such a file ends the reading.

    Raises
    ------
    DamagedStoreError
        From `new` and `wait_for`, if a file cannot be read and there is no `on_damage`.

    Examples
    --------
    >>> PredictionLogReader(Path("folder-without-a-log"), "momentum").new()
    []
    """

    def __init__(
        self,
        location: str | Path,
        model: str,
        *,
        by_symbols: bool = False,
        since: datetime | None = None,
        on_damage: Callable[[DamagedStoreError], None] | None = None,
    ) -> None:
        self._store = open_store(partition_location(location, model))
        self._by_symbols, self._since = by_symbols, since
        self._on_damage = on_damage
        self._damaged: set[str] = set()
        self._seen: set[str] = set()
        self._drops: dict[str, int] = {}
        self._merged: dict[str, list[LogPart]] = {}

    @property
    def dropped(self) -> int:
        """Number of rows that the writers of the files read so far have dropped."""
        return sum(self._drops.values())

    def new(self) -> list[PredictionRow]:
        """Read the rows that have been logged since the last call.

        Returns
        -------
        list of PredictionRow
            Rows by `as_of`, then in the order of answers; rows without `as_of` come first.

        Raises
        ------
        DamagedStoreError
            If a file cannot be read.
        """
        rows_by_file: dict[str, list[PredictionRow]] = {}
        while not self._collect(rows_by_file):
            # A file was merged or removed between the listing and the reading: look again.
            continue
        self._seen.update(rows_by_file)
        rows = [row for name in sorted(rows_by_file) for row in rows_by_file[name]]
        return sorted(
            rows, key=lambda row: (row.as_of is not None, row.as_of or row.logged_at, row.logged_at)
        )

    def wait_for(self, as_of: datetime, timeout: float) -> list[PredictionRow]:
        """Repeat `new` until a row for `as_of` or later comes, or `timeout` seconds have passed.

        Returns the rows that came in either case; the caller checks that `as_of` is among them.
        """
        deadline = monotonic() + timeout
        rows = self.new()
        while not any(row.as_of is not None and row.as_of >= as_of for row in rows):
            if monotonic() >= deadline:
                break
            sleep(SHARED_POLL_SECONDS if self._store.shared else POLL_SECONDS)
            rows += self.new()
        return rows

    def _collect(self, rows_by_file: dict[str, list[PredictionRow]]) -> bool:
        """Add the rows of unseen parts to `found`; return False if a file vanished meanwhile."""
        try:
            files = self._files()
            for name in files:
                if name.startswith(MERGED_PREFIX) and name not in self._damaged:
                    self._read(name, self._read_merged, rows_by_file)
            for name in files:
                if not name.startswith(MERGED_PREFIX) and self._is_new(name, rows_by_file):
                    self._read(name, self._read_single, rows_by_file)
        except FileNotFoundError:
            return False
        return True

    def _read(
        self,
        name: str,
        read: Callable[[str, dict[str, list[PredictionRow]]], None],
        rows_by_file: dict[str, list[PredictionRow]],
    ) -> None:
        """Read one file; a damaged one is reported once and passed over, where somebody wants to know."""
        try:
            read(name, rows_by_file)
        except DamagedStoreError as error:
            if self._on_damage is None:
                raise
            self._damaged.add(name)
            self._on_damage(error)

    def _is_new(self, name: str, rows_by_file: dict[str, list[PredictionRow]]) -> bool:
        return name not in self._seen and name not in rows_by_file and name not in self._damaged

    def _files(self) -> list[str]:
        return [name for name in self._store.names() if name.endswith(SUFFIX)]

    def _parts(self, name: str) -> list[LogPart]:
        if name not in self._merged:
            self._merged[name] = read_log_parts(self._store, name)
        return self._merged[name]

    def _read_single(self, name: str, rows_by_file: dict[str, list[PredictionRow]]) -> None:
        table = read_log_table(self._store, name)
        self._count(name, int((table.schema.metadata or {}).get(DROPPED_KEY, b"0")))
        rows_by_file[name] = self._rows(table)

    def _read_merged(self, name: str, rows_by_file: dict[str, list[PredictionRow]]) -> None:
        parts, first = self._parts(name), 0
        if not any(self._is_new(part.name, rows_by_file) for part in parts):
            return
        table = read_log_table(self._store, name)
        for part in parts:
            if self._is_new(part.name, rows_by_file):
                self._count(part.name, part.dropped)
                rows_by_file[part.name] = self._rows(table.slice(first, part.rows))
            first += part.rows

    def _rows(self, table: pa.Table) -> list[PredictionRow]:
        if self._by_symbols:
            table = table.filter(compute.greater(compute.list_value_length(table["symbols"]), 0))
        if self._since is not None:
            table = table.filter(compute.greater_equal(table["as_of"], pa.scalar(self._since)))
        return [row_from_dict(values) for values in table.to_pylist()]

    def _count(self, name: str, dropped: int) -> None:
        writer = name.rpartition("-")[0]
        self._drops[writer] = max(dropped, self._drops.get(writer, 0))


def read_log_table(store: ObjectStore, name: str) -> pa.Table:
    """Read a file of the log; raise `DamagedStoreError`, or `FileNotFoundError` if it is gone."""
    try:
        # Not through the dataset API, which would add the folder's `model=` as a second column.
        # Without threads, because a file holds a few rows, and starting threads costs more than reading them.
        return complete_table(open_table(store, name).read(use_threads=False))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise damaged_log_error(store.address(name), error) from error


def read_log_parts(store: ObjectStore, name: str) -> list[LogPart]:
    """Read the list of a merged file's sources; raise as `read_log_table` does."""
    try:
        metadata = open_table(store, name).metadata.metadata or {}
        return [LogPart(*values) for values in json.loads(metadata[SOURCES_KEY])]
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise damaged_log_error(store.address(name), error) from error


def damaged_log_error(path: str, error: Exception) -> DamagedStoreError:
    """Build the error for a file that cannot be read."""
    return DamagedStoreError(f"the prediction log {path} cannot be read: {error}; move it away")
