"""Row of the prediction log, and its Parquet table."""

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
        ("route_keys", pa.list_(pa.string())),
    ]
)
# Approximate memory of a row's Python objects, of each symbol's score, status and name, and of a route key.
ROW_BYTES, SYMBOL_BYTES, KEY_BYTES = 2_048, 100, 60
DROPPED_KEY = b"alphaloop.dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """One prediction: version, request, scores and the features that the model saw.

    Parameters
    ----------
    prediction_id : str
        Id of the prediction; a shadow's is that of the answer plus `/shadow`.
    logged_at : datetime
        Time of logging, in UTC.
    as_of : datetime or None
        Close of the bar; may be None if the client sent the inputs.
    feature_timestamp : datetime or None
        Time of the features that were used.
    model, version, digest : str
        Version that scored, and the SHA-256 of its ONNX file.
    route : str
        Role of the version in this request (`alphaloop.forecasts.Route`).
    route_keys : tuple of str
        Sleeves of capital of the request that share this row. The table's column `route_key` has the only
        one, and null where there are several.
    symbols : tuple of str
        Requested symbols; empty if the client sent the inputs.
    scores : tuple of float
        One score a symbol; NaN if masked, or if there is an error.
    statuses : tuple of str
        One status a symbol.
    features : ndarray of float32, shape [symbols, features]
        Last row of the panel as the model saw it.
    input_hash : str
        Hash of the whole panel; for a version that is scored on its whole universe, of all its symbols.
    feature_set, snapshot : str
        Hash of the feature set, and id of the data snapshot.
    generation : int
        Generation of the rollout document; 0 without a rollout.
    latency_ms : float
        Milliseconds from the request's arrival until its scores.
    error : str, optional
        Reason of a failure.
    """

    prediction_id: str
    logged_at: datetime
    as_of: datetime | None
    feature_timestamp: datetime | None
    model: str
    version: str
    digest: str
    route: str
    route_keys: tuple[str, ...]
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
        """Approximate size in memory, in bytes."""
        # A damaged row is dropped where it is written, not where it is counted.
        features = getattr(self.features, "nbytes", 0)
        keys = sum(KEY_BYTES + len(key) for key in self.route_keys)
        return int(ROW_BYTES + SYMBOL_BYTES * len(self.scores) + features + keys)


def partition_folder(folder: Path, model: str) -> Path:
    """Return the folder of one model's rows, named as a Hive partition."""
    return folder / partition_name(model)


def partition_location(location: str | Path, model: str) -> str:
    """Return the folder or URL of one model's rows."""
    return f"{str(location).rstrip('/')}/{partition_name(model)}"


def partition_name(model: str) -> str:
    """Return the name of one model's rows within the log, a Hive partition."""
    return f"model={quote(model, safe='')}"


def rows_to_table(rows: list[PredictionRow]) -> pa.Table:
    """Build a table of `SCHEMA` from the rows."""
    columns: dict[str, list[Any]] = {
        field.name: [getattr(row, field.name) for row in rows] for field in fields(PredictionRow)
    }
    columns["route_key"] = [row.route_keys[0] if len(row.route_keys) == 1 else None for row in rows]
    columns["features"] = [np.ascontiguousarray(row.features, "<f4").tobytes() for row in rows]
    columns["features_shape"] = [row.features.shape for row in rows]
    return pa.table(columns, schema=SCHEMA)


def complete_table(table: pa.Table) -> pa.Table:
    """Return a table of `SCHEMA` from one that an earlier release wrote, with one route key a row."""
    if "route_keys" in table.schema.names:
        return table
    keys = table["route_key"].combine_chunks()
    lists = pa.ListArray.from_arrays(np.arange(len(keys) + 1, dtype=np.int32), keys)
    return table.append_column(SCHEMA.field("route_keys"), lists)


def row_from_dict(values: dict[str, Any]) -> PredictionRow:
    """Build a row from one element of `to_pylist` of a table of `SCHEMA`."""
    shape, _ = values.pop("features_shape"), values.pop("route_key")
    values["features"] = np.frombuffer(values["features"], "<f4").reshape(shape)
    for name in ("symbols", "scores", "statuses", "route_keys"):
        values[name] = tuple(values[name])
    return PredictionRow(**values)
