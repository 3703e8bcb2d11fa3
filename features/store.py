"""The door to Feast: features at rest (Parquet, joined by DuckDB) and online (SQLite).

Feast takes seconds to import, so it is imported when a store is first used.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from alphaloop.clock import as_utc
from alphaloop.errors import (
    DamagedStoreError,
    DataError,
    MissingPartError,
    MissingStateError,
    VendorError,
)
from alphaloop.market import to_datetime
from features import offline
from features.build import FeatureFrame
from features.lease import exclusive
from features.sets import FeatureSet, default
from features.windows import OnlineWindows, StoredWindow, select, unpack

PROJECT = "alphaloop"
REGISTRY_FILE = "registry.db"
ONLINE_FILE = "online.db"
OFFLINE_FOLDER = "offline"
REMEDY = "make it with: alphaloop features build, then alphaloop features materialize"
CACHED_READS = 64


class FeatureStore:
    """The Feast store in `folder`, for one feature set. Nothing is made before `apply`."""

    def __init__(self, folder: Path, feature_set: FeatureSet | None = None) -> None:
        self._folder = Path(folder)
        self._set = feature_set or default()

    def apply(self) -> None:
        """Tell Feast the definitions, and make its registry and online tables. Safe to repeat.

        Several processes may do so at once: a lock lets one after the other in, because making a
        fresh registry twice at a time fails.
        """
        from features.repo import definitions

        with exclusive(self._folder / "apply.lock"), translated(self._folder):
            views = [
                definitions.offline_view(self._offline_files("*"), self._set.names),
                definitions.online_view(self._offline_files("windows")),
            ]
            self._feast.apply([definitions.symbol(), *views])
            # In this mode readers in other processes never wait for the streamer, nor it for them.
            with sqlite3.connect(self._folder / ONLINE_FILE) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.close()

    def write_offline(self, frame: FeatureFrame, name: str = "features") -> Path:
        """Replace the offline features called `name` (one file for each universe) by those of `frame`.

        `DataError` if the frame is of another feature set.
        """
        if frame.feature_set != self._set.hash:
            raise DataError(
                f"these features are of set {frame.feature_set[:12]}; this store is for {self._set.hash[:12]}"
            )
        path = self._offline_files(name)
        offline.write(frame, path)
        return path

    def training_frame(self, rows: pa.Table) -> pa.Table:
        """Features of `rows` (columns `symbol` and `timestamp`), joined by Feast as of each timestamp.

        A row whose last features are older than a day has nulls. Feast is the reference here; `read`
        gives the same in a fraction of the time.
        """
        self._require_offline()
        # Feast gives the rows back in an order of its own: number them.
        entities = rows.select(["symbol", "timestamp"]).to_pandas()
        entities = entities.rename(columns={"timestamp": "event_timestamp"}).assign(row=range(len(entities)))
        with translated(self._folder):
            wanted = [f"features:{name}" for name in self._set.names]
            job = self._feast.get_historical_features(entity_df=entities, features=wanted)
            joined: pa.Table = job.to_arrow()
        _close_ibis()
        joined = joined.sort_by("row").rename_columns({"event_timestamp": "timestamp"})
        return joined.select(["symbol", "timestamp", *self._set.names])

    def read(self, rows: pa.Table) -> pa.Table:
        """What `training_frame` gives, by one ASOF join of DuckDB over the same files: for bulk."""
        self._require_offline()
        return offline.join(self._offline_files("*"), rows, self._set.names)

    @cached_property
    def _feast(self) -> Any:
        return open_feast(self._folder)

    def _offline_files(self, name: str) -> Path:
        return self._folder.resolve() / OFFLINE_FOLDER / f"{name}.parquet"

    def _require_offline(self) -> None:
        if not list((self._folder / OFFLINE_FOLDER).glob("*.parquet")):
            raise MissingStateError(f"there are no offline features in {self._folder}; {REMEDY}")


class OnlineReader:
    """Reads windows from the online store in `folder`; opened at the first read, usable from threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._lock = Lock()
        self._recent: OrderedDict[tuple[Any, ...], OnlineWindows] = OrderedDict()

    def read(self, symbols: Sequence[str], as_of: datetime, lookback: int) -> OnlineWindows:
        """The windows of exactly `as_of`.

        A symbol that is absent, stands at another bar than the rest or has no values is masked.
        Raises `StaleFeaturesError`, naming the age, if no symbol stands at `as_of`;
        `MissingStateError` if there is no store or fewer rows are kept than `lookback`.
        """
        as_of = as_utc(as_of)
        key = (as_of, tuple(symbols), lookback)
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
            windows = select(self._fetch(key[1]), key[1], as_of, lookback)
            self._recent[key] = windows
            if len(self._recent) > CACHED_READS:
                self._recent.popitem(last=False)
            return windows

    def stored(self, symbols: Sequence[str]) -> dict[str, StoredWindow]:
        """What is stored of those `symbols` that are there, at whatever bar."""
        with self._lock:
            return self._fetch(tuple(symbols))

    @cached_property
    def _feast(self) -> Any:
        if not (self._folder / REGISTRY_FILE).is_file():
            raise MissingStateError(f"there is no feature store in {self._folder}; {REMEDY}")
        return open_feast(self._folder)

    def _fetch(self, symbols: tuple[str, ...]) -> dict[str, StoredWindow]:
        from features.repo.definitions import ONLINE_FEATURES, ONLINE_VIEW

        feast = self._feast
        with translated(self._folder):
            response = feast.get_online_features(
                features=[f"{ONLINE_VIEW}:{name}" for name in ONLINE_FEATURES],
                entity_rows=[{"symbol": symbol} for symbol in symbols],
            ).proto
        columns = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        found = {}
        for row, symbol in enumerate(symbols):
            packed = columns["window"].values[row].bytes_val
            if packed:
                values, bar = unpack(packed)
                snapshot, feature_set = (
                    columns[name].values[row].string_val for name in ("snapshot", "feature_set")
                )
                found[symbol] = StoredWindow(to_datetime(bar), values, snapshot, feature_set)
        return found


def open_feast(folder: Path) -> Any:
    """Feast's own store over the files in `folder`; `MissingPartError` if Feast is not installed."""
    try:
        import feast
    except ImportError as error:
        raise MissingPartError(f"Feast cannot be imported ({error}); install alphaloop[features]") from error
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config = feast.RepoConfig(
        project=PROJECT,
        provider="local",
        repo_path=folder,
        # 0 means that definitions are read once: they change only with the code.
        registry={
            "registry_type": "sql",
            "path": f"sqlite:///{folder / REGISTRY_FILE}",
            "cache_ttl_seconds": 0,
        },
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / ONLINE_FILE)},
        entity_key_serialization_version=3,
    )
    with translated(folder):
        return feast.FeatureStore(config=config)


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Turn what Feast and its databases raise into our errors, with the cause chained."""
    import sqlalchemy.exc
    from feast.errors import FeastError, FeatureViewNotFoundException

    damaged = f"the feature store in {folder} cannot be read: {{}}; remove that folder and {REMEDY}"
    try:
        yield
    except FeatureViewNotFoundException as error:
        raise MissingStateError(f"the feature store in {folder} was never applied; {REMEDY}") from error
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise MissingStateError(f"the feature store in {folder} was never applied; {REMEDY}") from error
        raise VendorError(f"the online store in {folder} failed: {error}") from error
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError) as error:
        raise DamagedStoreError(damaged.format(error)) from error
    except FeastError as error:
        raise VendorError(f"Feast failed on {folder}: {error}") from error


def _close_ibis() -> None:
    """Close the connection that Feast's join leaves open in ibis: DuckDB complains of it at exit."""
    import ibis

    backend = ibis.options.default_backend
    if backend is not None:
        backend.disconnect()
        ibis.options.default_backend = None
