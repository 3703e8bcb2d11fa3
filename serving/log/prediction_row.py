"""One row of the prediction log, and its table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
# What Python's objects of a row take, and those of each symbol: its score, its status and its name.
ROW_BYTES, SYMBOL_BYTES = 2_048, 100
DROPPED = b"alphaloop.dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """One prediction: by whom, of what, and what the model saw.

    `features` is the last row of the panel as the model saw it, float32 `[symbols, features]`. A version
    that is scored on its whole universe saw more symbols than were asked for: `input_hash` is of them all.
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

    @property
    def size_bytes(self) -> int:
        """About how many bytes it takes in memory."""
        # A row that is damaged is dropped where it is written, not where it is counted.
        features = getattr(self.features, "nbytes", 0)
        return int(ROW_BYTES + SYMBOL_BYTES * len(self.scores) + features)


def partition(folder: Path, model: str) -> Path:
    """The folder of one model's rows, in Hive's naming."""
    return folder / f"model={quote(model, safe='')}"


def table_of(rows: list[PredictionRow]) -> pa.Table:
    """The rows as a table of `SCHEMA`."""
    columns: dict[str, list[Any]] = {
        field.name: [getattr(row, field.name) for row in rows] for field in fields(PredictionRow)
    }
    columns["features"] = [np.ascontiguousarray(row.features, "<f4").tobytes() for row in rows]
    columns["features_shape"] = [row.features.shape for row in rows]
    return pa.table(columns, schema=SCHEMA)


def row_of(values: dict[str, Any]) -> PredictionRow:
    """One row of a table of `SCHEMA`, as `to_pylist` gives it."""
    shape = values.pop("features_shape")
    values["features"] = np.frombuffer(values["features"], "<f4").reshape(shape)
    for name in ("symbols", "scores", "statuses"):
        values[name] = tuple(values[name])
    return PredictionRow(**values)
