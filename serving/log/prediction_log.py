"""Prediction log: every prediction as a Parquet row, written in a background thread.

Files are `<location>/model=<name>/<writer>-<number>.parquet`. A file appears whole or not at all, and is
never changed. The queue is bounded in rows and bytes, the files in bytes (`serving.log.disk_space`): beyond
that a row is dropped and counted, never the request. Each file's metadata holds the count, so that a reader
knows that the log is incomplete. Files of past days are merged (`serving.log.compaction`).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError, VendorError
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import table_bytes
from serving.log.disk_space import LogSpace
from serving.log.prediction_row import (
    DROPPED_KEY,
    SCHEMA,
    PredictionRow,
    partition_folder,
    partition_name,
    rows_to_table,
)
from serving.log.reader import PredictionLogReader

log = logging.getLogger(__name__)

__all__ = ["SCHEMA", "PredictionLog", "PredictionLogReader", "PredictionRow", "partition_folder"]

DEFAULT_CAPACITY = 4_096
# Memory limit of all waiting rows, queued or about to be written.
MAX_WAITING_BYTES = 64 * 2**20
# Size limit of a row with a client's own inputs. A version's whole universe may be larger, and is logged.
MAX_SENT_BYTES = 2**20
# Rows of so many bytes are written at once: building their table is one call that blocks all threads.
FLUSH_BYTES = 4 * 2**20
DEFAULT_FLUSH_SECONDS = 0.25
# Pause after a bucket did not answer.
RETRY_SECONDS = 1.0
IDLE_SECONDS = 0.02


class PredictionLog:
    """Log that writes rows in a background thread.

    A model's rows are flushed when a later bar begins (by `as_of` of rows with symbols), when none came for
    `IDLE_SECONDS`, when they are `flush_seconds` old or have `FLUSH_BYTES`, and on closing. `dropped` counts
    the rows beyond the limits in memory or on disk, and those that could not be written.

    Parameters
    ----------
    location : str or Path
        Folder of the log, or `s3://bucket/prefix`. While a bucket is away, rows wait within the limits in
        memory.
    capacity : int
        Maximum number of rows in the queue.
    flush_seconds : float
        Maximum age of a row, in seconds, before it is written.
    space : LogSpace, optional
        Limit of the bytes on disk; none by default.
    """

    def __init__(
        self,
        location: str | Path,
        capacity: int = DEFAULT_CAPACITY,
        flush_seconds: float = DEFAULT_FLUSH_SECONDS,
        space: LogSpace | None = None,
    ) -> None:
        self._store, self._flush_seconds = open_store(location), flush_seconds
        self._capacity, self.space = capacity, space or LogSpace(location)
        self._waiting_bytes = self._pending_bytes = 0
        # Polled at intervals: waking the thread for each row would cost the request more than all the rest
        # of logging.
        self._queue: deque[PredictionRow] = deque()
        self._pending: dict[str, list[PredictionRow]] = {}
        self._bars: dict[str, datetime] = {}
        self._since = self._retry_at = 0.0
        self._writer, self._files = uuid.uuid4().hex[:12], 0
        self._counting = threading.Lock()
        self.dropped = 0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start writing."""
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, row: PredictionRow) -> None:
        """Queue a row without waiting; a row beyond the limits is dropped and counted."""
        size = row.size_bytes
        with self._counting:
            full = len(self._queue) >= self._capacity or self._waiting_bytes + size > MAX_WAITING_BYTES
            if not full and (row.symbols or size <= MAX_SENT_BYTES):
                self._waiting_bytes += size
                self._queue.append(row)
                return
        self._drop(1)

    def close(self) -> None:
        """Write the remaining rows, then stop."""
        if self._thread is not None:
            self._ending.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._ending.wait(IDLE_SECONDS):
            if not self._drain() and self._pending:
                self._flush()
        self._drain()
        self._flush()

    def _drain(self) -> bool:
        """Take all rows from the queue; return whether there were any."""
        had_rows = bool(self._queue)
        while self._queue:
            self._append(self._queue.popleft())
        return had_rows

    def _append(self, row: PredictionRow) -> None:
        if not row.symbols and not self.space.accepts_client_rows:
            self._release_bytes(row.size_bytes)
            self._drop(1)
            return
        if self._begins_a_bar(row) and row.model in self._pending:
            self._write(row.model, self._pending.pop(row.model))
        if not self._pending:
            self._since = monotonic()
        self._pending.setdefault(row.model, []).append(row)
        self._pending_bytes += row.size_bytes
        if monotonic() - self._since >= self._flush_seconds or self._pending_bytes >= FLUSH_BYTES:
            self._flush()

    def _begins_a_bar(self, row: PredictionRow) -> bool:
        """Return whether the row's bar is later than all before it.

        Rows without symbols begin no bar: their client sent the inputs, and may date them as it likes.
        """
        latest = self._bars.get(row.model)
        if row.as_of is None or not row.symbols or (latest is not None and row.as_of <= latest):
            return False
        self._bars[row.model] = row.as_of
        return True

    def _flush(self) -> None:
        if monotonic() < self._retry_at and not self._ending.is_set():
            return
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        for model, rows in pending.items():
            self._write(model, rows)

    def _write(self, model: str, rows: list[PredictionRow]) -> None:
        """Write the rows as one file, or drop them.

        Any error is caught: rows that cannot be written must not stop the thread.
        """
        try:
            self._write_file(model, rows)
        except VendorError as error:
            if not self._ending.is_set():
                self._wait_with(model, rows, error)
                return
            self._lose(model, rows, error)
        except (OSError, pa.ArrowException, AlphaloopError) as error:
            self._lose(model, rows, error)
        except Exception as error:
            log.exception("rows that no file of the prediction log can hold:")
            self._lose(model, rows, error)
        self._release_bytes(sum(row.size_bytes for row in rows))

    def _wait_with(self, model: str, rows: list[PredictionRow], error: VendorError) -> None:
        """Keep rows that a bucket did not take, for another attempt under the same name."""
        log.warning("predictions of %r wait, since the log does not take them: %s", model, error)
        self._pending[model] = [*rows, *self._pending.get(model, [])]
        self._pending_bytes += sum(row.size_bytes for row in rows)
        self._retry_at = monotonic() + RETRY_SECONDS

    def _write_file(self, model: str, rows: list[PredictionRow]) -> None:
        metadata = {DROPPED_KEY: str(self.dropped).encode()}
        content = table_bytes(rows_to_table(rows).replace_schema_metadata(metadata), compression="zstd")
        name = f"{self._writer}-{self._files:08d}.parquet"
        self._store.create(f"{partition_name(model)}/{name}", content)
        self._files += 1
        self.space.add(len(content))

    def _lose(self, model: str, rows: list[PredictionRow], error: Exception) -> None:
        self._drop(len(rows))
        log.error(
            "%d predictions of %r could not be logged in %s: %s",
            len(rows),
            model,
            self._store.location,
            error,
        )

    def _release_bytes(self, size: int) -> None:
        with self._counting:
            self._waiting_bytes -= size

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count
            first = self.dropped == count
        if first:
            log.warning(
                "the prediction log drops rows: more predictions come than can be written, or clients send "
                "larger ones than it keeps (serving.log_max_bytes)"
            )
