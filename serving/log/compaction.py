"""Compaction of the prediction log: merges past days and removes old ones.

The files of a past day become one. A merged file appears whole, with the names of its sources in its
metadata, before the sources are removed; its name is derived from theirs. A process killed at any point
loses nothing and duplicates nothing: readers go by those names, and the next compaction removes the sources
that the killed one had left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import AlphaloopError, DamagedStoreError
from alphaloop.runtime.atomic_file import PARTIAL_SUFFIX
from alphaloop.runtime.file_lock import exclusive_lock
from alphaloop.storage.folder_store import FolderStore
from alphaloop.storage.object_store import ObjectStore
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import open_table
from serving.log.disk_space import LogSpace
from serving.log.prediction_row import DROPPED_KEY, SCHEMA
from serving.log.reader import (
    MERGED_PREFIX,
    SOURCES_KEY,
    SUFFIX,
    LogPart,
    damaged_log_error,
    read_log_parts,
    read_log_table,
)

log = logging.getLogger(__name__)

LOCK_FILE = ".compaction.lock"
UNFINISHED_SUFFIX = ".unfinished"
# Rows that are held in memory at a time, and compressed together.
GROUP_ROWS = 4_096
COMPACTION_SECONDS = 3_600.0
SPACE_CHECK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a model's log: its day, and the parts that it holds."""

    name: str
    day: date
    parts: tuple[LogPart, ...]


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """The result of compacting one model's log, or the plan of it.

    Parameters
    ----------
    merged : int
        Files that became one file a day.
    removed : int
        Files of days that are kept no longer.
    superseded : int
        Files whose rows a merged file holds already; a killed compaction leaves them.
    busy : bool
        Whether another process compacts the log, so that nothing was done.
    """

    merged: int = 0
    removed: int = 0
    superseded: int = 0
    busy: bool = False


class LogCompactor:
    """Background thread that compacts the log at `location` once an hour.

    Days older than `retention_days` are removed; 0 keeps all. If the log exceeds its `space`, the oldest
    files are removed within seconds.
    """

    def __init__(
        self,
        location: str | Path,
        retention_days: int = 0,
        clock: Clock | None = None,
        space: LogSpace | None = None,
    ) -> None:
        self._location, self._retention_days = str(location), retention_days
        self._space = space or LogSpace(location)
        self._clock = clock or SystemClock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which compacts at once."""
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="log-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after the file that is being written."""
        if self._thread is not None:
            self._ending.set()
            self._thread.join()
            self._thread = None

    def compact_all(self) -> None:
        """Compact and prune the logs of all models now. Failures are logged and skipped."""
        today = self._clock.now().date()
        oldest = today - timedelta(days=self._retention_days) if self._retention_days else date.min
        for partition in self._partitions():
            if self._ending.is_set():
                return
            try:
                compact_log(partition, today, oldest)
            except (OSError, pa.ArrowException, AlphaloopError) as error:
                log.warning("the prediction log in %s could not be compacted: %s", partition, error)

    def enforce_space(self) -> None:
        """Remove the oldest files if the log exceeds its space."""
        if not self._space.exceeded:
            return
        try:
            removed = self._space.shrink()
        except (OSError, AlphaloopError) as error:
            log.warning("old files of the prediction log could not be removed: %s", error)
            return
        log.warning(
            "the prediction log was larger than serving.log_max_bytes: its %d oldest files are removed",
            removed,
        )

    def _partitions(self) -> list[str]:
        try:
            return log_partitions(self._location)
        except AlphaloopError as error:
            log.warning("the prediction log in %s could not be listed: %s", self._location, error)
            return []

    def _run(self) -> None:
        while True:
            self.compact_all()
            with suppress(OSError, AlphaloopError):
                self._space.measure()
            for _ in range(int(COMPACTION_SECONDS / SPACE_CHECK_SECONDS)):
                self.enforce_space()
                if self._ending.wait(SPACE_CHECK_SECONDS):
                    return


def log_partitions(location: str | Path) -> list[str]:
    """Return the folder or URL of each model that a log holds rows of, in order."""
    names = open_store(location).names("model=")
    return [f"{location}/{one}" for one in sorted({name.partition("/")[0] for name in names})]


def compact_log(
    location: str | Path | ObjectStore, today: date, oldest: date = date.min, *, dry_run: bool = False
) -> CompactionReport:
    """Merge the files of each day before `today` in one model's folder, or below its URL.

    Days before `oldest` are removed. Does nothing while another process of this machine compacts the folder.
    In a bucket two processes may compact at once: the names of merged files are derived, and so are the same.
    Returns what was done, or with `dry_run` what would be.
    """
    store = open_store(location)
    with _alone(store) as mine:
        if not mine:
            return CompactionReport(busy=True)
        if not dry_run and isinstance(store, FolderStore):
            _remove_unfinished(store.folder)
        found = _files(store, today)
        kept = _without_superseded(found)
        superseded = [file for file in found if file not in kept]
        days: dict[date, list[LogFile]] = defaultdict(list)
        for file in kept:
            days[file.day].append(file)
        old = {day: files for day, files in days.items() if day < oldest}
        due = {
            day: files
            for day, files in days.items()
            if day not in old and (len(files) > 1 or not _is_merged(files[0]))
        }
        if not dry_run:
            _remove(store, superseded)
            for day in sorted(old.keys() | due.keys()):
                if day in old:
                    _remove(store, old[day])
                else:
                    _merge(store, day, due[day])
        merged, removed = (sum(map(len, group.values())) for group in (due, old))
        return CompactionReport(merged, removed, len(superseded))


def _alone(store: ObjectStore) -> AbstractContextManager[Any]:
    """Keep other processes of this machine from the folder."""
    if not isinstance(store, FolderStore):
        return nullcontext(True)
    return exclusive_lock(store.folder / LOCK_FILE, wait=False)


def _remove_unfinished(folder: Path) -> None:
    """Remove the merged files that killed compactions left unfinished."""
    for pattern in (f"{MERGED_PREFIX}*{UNFINISHED_SUFFIX}", f".{MERGED_PREFIX}*{PARTIAL_SUFFIX}"):
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)


def _files(store: ObjectStore, today: date) -> list[LogFile]:
    files = []
    for one in store.listed():
        if not one.name.endswith(SUFFIX):
            continue
        if one.name.startswith(MERGED_PREFIX):
            day = date.fromisoformat(one.name.removeprefix(MERGED_PREFIX)[:10])
            files.append(LogFile(one.name, day, tuple(read_log_parts(store, one.name))))
        elif one.written.date() < today:
            try:
                files.append(_describe_file(store, one.name))
            except DamagedStoreError as error:
                log.warning("left out of compaction: %s", error)
    return [file for file in files if file.day < today]


def _describe_file(store: ObjectStore, name: str) -> LogFile:
    """Describe a file as its writer left it, by the day of its first row."""
    try:
        metadata = open_table(store, name).metadata
        first = metadata.row_group(0).column(SCHEMA.get_field_index("logged_at")).statistics.min
        dropped = int((metadata.metadata or {}).get(DROPPED_KEY, b"0"))
    except (pa.ArrowException, IndexError, AttributeError, ValueError) as error:
        raise damaged_log_error(store.address(name), error) from error
    return LogFile(name, first.date(), (LogPart(name, metadata.num_rows, dropped),))


def _without_superseded(files: list[LogFile]) -> list[LogFile]:
    """Leave out files whose parts are all in a merged file.

    A killed compaction leaves such files.
    """
    kept: list[LogFile] = []
    merged: set[str] = set()
    # A merged file comes before its only source.
    for file in sorted(files, key=lambda one: (-len(one.parts), not _is_merged(one))):
        names = {part.name for part in file.parts}
        if not names <= merged:
            kept.append(file)
            if _is_merged(file):
                merged |= names
    return kept


def _is_merged(file: LogFile) -> bool:
    return file.name.startswith(MERGED_PREFIX)


def _merge(store: ObjectStore, day: date, files: list[LogFile]) -> None:
    files = sorted(files, key=lambda file: file.name)
    parts = [part for file in files for part in file.parts]
    sources = json.dumps([astuple(part) for part in parts]).encode()
    schema = SCHEMA.with_metadata({SOURCES_KEY: sources})

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for table in _groups(store, files):
                writer.write_table(table.cast(SCHEMA).replace_schema_metadata(schema.metadata))

    name = f"{MERGED_PREFIX}{day.isoformat()}-{hashlib.sha256(sources).hexdigest()[:12]}{SUFFIX}"
    store.create_by(name, write, durable=True)
    _remove(store, [file for file in files if file.name != name])


def _groups(store: ObjectStore, files: list[LogFile]) -> Iterator[pa.Table]:
    """Yield the rows of `files` in order, in tables large enough to compress well."""
    tables: list[pa.Table] = []
    for file in files:
        tables.append(read_log_table(store, file.name).replace_schema_metadata(None))
        if sum(len(table) for table in tables) >= GROUP_ROWS:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


def _remove(store: ObjectStore, files: list[LogFile]) -> None:
    for file in files:
        store.delete(file.name)
