"""Compaction of the prediction log: merges past days and removes old ones.

The files of a past day become one. A merged file appears whole, with the names of its sources in its
metadata, before the sources are removed. A process killed at any point loses nothing and duplicates nothing:
readers go by those names, and the next compaction removes the sources that the killed one had left.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import DamagedStoreError
from alphaloop.runtime.file_lock import exclusive_lock
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
    """What a compaction of one model's log did, or would do.

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
    """Background thread that compacts the log in `folder` once an hour.

    Days older than `retention_days` are removed; 0 keeps all. If the log exceeds its `space`, the oldest
    files are removed within seconds.
    """

    def __init__(
        self,
        folder: Path,
        retention_days: int = 0,
        clock: Clock | None = None,
        space: LogSpace | None = None,
    ) -> None:
        self._folder, self._retention_days = Path(folder), retention_days
        self._space = space or LogSpace(folder)
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
        for folder in sorted(self._folder.glob("model=*")):
            if self._ending.is_set():
                return
            try:
                compact_log(folder, today, oldest)
            except (OSError, pa.ArrowException, DamagedStoreError) as error:
                log.warning("the prediction log in %s could not be compacted: %s", folder, error)

    def enforce_space(self) -> None:
        """Remove the oldest files if the log exceeds its space."""
        if not self._space.exceeded:
            return
        try:
            removed = self._space.shrink()
        except OSError as error:
            log.warning("old files of the prediction log could not be removed: %s", error)
            return
        log.warning(
            "the prediction log was larger than serving.log_max_bytes: its %d oldest files are removed",
            removed,
        )

    def _run(self) -> None:
        while True:
            self.compact_all()
            with suppress(OSError):
                self._space.measure()
            for _ in range(int(COMPACTION_SECONDS / SPACE_CHECK_SECONDS)):
                self.enforce_space()
                if self._ending.wait(SPACE_CHECK_SECONDS):
                    return


def compact_log(
    folder: Path, today: date, oldest: date = date.min, *, dry_run: bool = False
) -> CompactionReport:
    """Merge the files of each day before `today` in one model's `folder`.

    Days before `oldest` are removed. Does nothing while another process compacts the folder. Returns what
    was done, or with `dry_run` what would be.
    """
    with exclusive_lock(folder / LOCK_FILE, wait=False) as mine:
        if not mine:
            return CompactionReport(busy=True)
        if not dry_run:
            for leftover in folder.glob(f"{MERGED_PREFIX}*{UNFINISHED_SUFFIX}"):
                leftover.unlink()
        found = _files(folder, today)
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
            _remove(folder, superseded)
            for day in sorted(old.keys() | due.keys()):
                if day in old:
                    _remove(folder, old[day])
                else:
                    _merge(folder, day, due[day])
        merged, removed = (sum(map(len, group.values())) for group in (due, old))
        return CompactionReport(merged, removed, len(superseded))


def _files(folder: Path, today: date) -> list[LogFile]:
    files = []
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if not entry.name.endswith(SUFFIX):
            continue
        path = folder / entry.name
        if entry.name.startswith(MERGED_PREFIX):
            day = date.fromisoformat(entry.name.removeprefix(MERGED_PREFIX)[:10])
            files.append(LogFile(entry.name, day, tuple(read_log_parts(path))))
        elif datetime.fromtimestamp(entry.stat().st_mtime, UTC).date() < today:
            try:
                files.append(_describe_file(path))
            except DamagedStoreError as error:
                log.warning("left out of compaction: %s", error)
    return [file for file in files if file.day < today]


def _describe_file(path: Path) -> LogFile:
    """Describe a file as its writer left it, by the day of its first row."""
    try:
        metadata = pq.read_metadata(path)
        first = metadata.row_group(0).column(SCHEMA.get_field_index("logged_at")).statistics.min
        dropped = int((metadata.metadata or {}).get(DROPPED_KEY, b"0"))
    except (pa.ArrowException, IndexError, AttributeError, ValueError) as error:
        raise damaged_log_error(path, error) from error
    return LogFile(path.name, first.date(), (LogPart(path.name, metadata.num_rows, dropped),))


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


def _merge(folder: Path, day: date, files: list[LogFile]) -> None:
    files = sorted(files, key=lambda file: file.name)
    parts = [part for file in files for part in file.parts]
    sources = json.dumps([astuple(part) for part in parts]).encode()
    path = folder / f"{MERGED_PREFIX}{day.isoformat()}-{uuid.uuid4().hex[:12]}{SUFFIX}"
    unfinished = path.with_suffix(UNFINISHED_SUFFIX)
    schema = SCHEMA.with_metadata({SOURCES_KEY: sources})
    with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        for table in _groups(folder, files):
            writer.write_table(table.cast(SCHEMA).replace_schema_metadata(schema.metadata))
    _make_durable(unfinished)
    os.replace(unfinished, path)
    _make_durable(folder)
    _remove(folder, files)


def _groups(folder: Path, files: list[LogFile]) -> Iterator[pa.Table]:
    """Yield the rows of `files` in order, in tables large enough to compress well."""
    tables: list[pa.Table] = []
    for file in files:
        tables.append(read_log_table(folder / file.name).replace_schema_metadata(None))
        if sum(len(table) for table in tables) >= GROUP_ROWS:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


def _remove(folder: Path, files: list[LogFile]) -> None:
    for file in files:
        (folder / file.name).unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """Sync `path` to disk before any file that it replaces is removed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
