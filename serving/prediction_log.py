"""The prediction log: every prediction as a row of Parquet, written behind the request's back.

`<folder>/model=<name>/<writer>-<number>.parquet`. A file appears whole or not at all, and is never
changed. The queue is bounded: when it is full the row is dropped and counted, never the request; the
count is kept in each file's metadata, so that a reader knows that the log is not complete.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import uuid
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import DamagedStoreError

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("logged_at", pa.timestamp("us", tz="UTC")),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("feature_timestamp", pa.timestamp("us", tz="UTC")),
        ("model", pa.string()),
        ("version", pa.string()),
        ("digest", pa.string()),
        ("route", pa.string()),
        ("route_key", pa.string()),
        ("symbols", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("statuses", pa.list_(pa.string())),
        ("features", pa.binary()),
        ("features_shape", pa.list_(pa.int32())),
        ("input_hash", pa.string()),
        ("feature_set", pa.string()),
        ("snapshot", pa.string()),
        ("generation", pa.int64()),
        ("latency_ms", pa.float64()),
        ("error", pa.string()),
    ]
)
DROPPED = b"alphaloop.dropped"
CAPACITY = 4_096
FLUSH_SECONDS = 0.25
IDLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """One prediction: by whom, of what, and what the model saw.

    `features` is the last row of the panel as the model saw it, float32 `[symbols, features]`.
    `symbols` is empty and `as_of` may be None where a client sent the inputs itself. A shadow's
    `prediction_id` is that of the answer with `/shadow` behind it. `error` says why `scores` are NaN.
    """

    prediction_id: str
    logged_at: datetime
    as_of: datetime | None
    feature_timestamp: datetime | None
    model: str
    version: str
    digest: str
    route: str
    route_key: str
    symbols: tuple[str, ...]
    scores: tuple[float, ...]
    statuses: tuple[str, ...]
    features: npt.NDArray[np.float32]
    input_hash: str
    feature_set: str
    snapshot: str
    generation: int
    latency_ms: float
    error: str | None = None


class PredictionLog:
    """Writes rows in a background thread. Flushes a model's rows when `as_of` changes, when none came
    for `IDLE_SECONDS`, when they are `flush_seconds` old, and when it is closed.

    `dropped` counts the rows that found the queue full or could not be written.
    """

    def __init__(self, folder: Path, capacity: int = CAPACITY, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._folder, self._flush_seconds = Path(folder), flush_seconds
        self._queue: queue.Queue[PredictionRow | None] = queue.Queue(capacity)
        self._pending: dict[str, list[PredictionRow]] = {}
        self._since = 0.0
        self._writer, self._files = uuid.uuid4().hex[:12], 0
        self._counting = threading.Lock()
        self.dropped = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start writing."""
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, row: PredictionRow) -> None:
        """Hand over a row; never waits."""
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self._drop(1)

    def close(self) -> None:
        """Write what is left, then stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            try:
                row = self._queue.get(timeout=IDLE_SECONDS if self._pending else None)
            except queue.Empty:
                self._flush()
                continue
            if row is None:
                self._flush()
                return
            self._append(row)

    def _append(self, row: PredictionRow) -> None:
        held = self._pending.get(row.model)
        if held and held[-1].as_of != row.as_of:
            self._write(row.model, self._pending.pop(row.model))
        if not self._pending:
            self._since = monotonic()
        self._pending.setdefault(row.model, []).append(row)
        if monotonic() - self._since >= self._flush_seconds:
            self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for model, rows in pending.items():
            self._write(model, rows)

    def _write(self, model: str, rows: list[PredictionRow]) -> None:
        folder = partition(self._folder, model)
        path = folder / f"{self._writer}-{self._files:08d}.parquet"
        unfinished = path.with_suffix(".unfinished")
        self._files += 1
        metadata = {DROPPED: str(self.dropped).encode()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(rows).replace_schema_metadata(metadata), unfinished, compression="zstd")
            os.replace(unfinished, path)
        except (OSError, pa.ArrowException) as error:
            self._drop(len(rows))
            log.error("%d predictions of %s could not be logged in %s: %s", len(rows), model, folder, error)

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count
            first = self.dropped == count
        if first:
            log.warning("the prediction log drops rows: more predictions come than can be written")


class PredictionLogReader:
    """Reads the log of one model as it grows.

    `dropped` is the number of rows that the writers of the files read so far have had to drop.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = partition(Path(folder), model)
        self._seen: set[str] = set()
        self._drops: dict[str, int] = {}

    @property
    def dropped(self) -> int:
        """Rows that are missing from what was read."""
        return sum(self._drops.values())

    def new(self) -> list[PredictionRow]:
        """The rows of files that were not read before, by `as_of` and then in the order of answers.

        Rows without `as_of` come first. Raises `DamagedStoreError` for a file that cannot be read.
        """
        names = self._unseen()
        rows = [row for name in names for row in self._read(name)]
        self._seen.update(names)
        return sorted(
            rows, key=lambda row: (row.as_of is not None, row.as_of or row.logged_at, row.logged_at)
        )

    def wait_for(self, as_of: datetime, timeout: float) -> list[PredictionRow]:
        """`new()`, repeated until a row for `as_of` or later has come, or `timeout` seconds have passed.

        The rows that came are returned in both cases; look whether `as_of` is among them.
        """
        deadline = monotonic() + timeout
        rows = self.new()
        while not any(row.as_of is not None and row.as_of >= as_of for row in rows):
            if monotonic() >= deadline:
                break
            sleep(0.005)
            rows += self.new()
        return rows

    def _unseen(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(
            entry.name
            for entry in os.scandir(self._folder)
            if entry.name.endswith(".parquet") and entry.name not in self._seen
        )

    def _read(self, name: str) -> list[PredictionRow]:
        path = self._folder / name
        try:
            # Not through the dataset API: it would add the folder's `model=` as a second column.
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowException) as error:
            raise DamagedStoreError(
                f"the prediction log {path} cannot be read: {error}; move it away"
            ) from error
        writer = name.rpartition("-")[0]
        dropped = int((table.schema.metadata or {}).get(DROPPED, b"0"))
        self._drops[writer] = max(dropped, self._drops.get(writer, 0))
        return [_row(values) for values in table.to_pylist()]


def partition(folder: Path, model: str) -> Path:
    """The folder of one model's rows, in Hive's naming."""
    return folder / f"model={quote(model, safe='')}"


def _table(rows: list[PredictionRow]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        field.name: [getattr(row, field.name) for row in rows] for field in fields(PredictionRow)
    }
    columns["features"] = [np.ascontiguousarray(row.features, "<f4").tobytes() for row in rows]
    columns["features_shape"] = [row.features.shape for row in rows]
    return pa.table(columns, schema=SCHEMA)


def _row(values: dict[str, Any]) -> PredictionRow:
    shape = values.pop("features_shape")
    values["features"] = np.frombuffer(values["features"], "<f4").reshape(shape)
    for name in ("symbols", "scores", "statuses"):
        values[name] = tuple(values[name])
    return PredictionRow(**values)
