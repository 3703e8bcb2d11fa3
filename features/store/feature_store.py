"""The feature store: offline features, their joins, and their definitions in Feast."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from alphaloop.bars import Timestamps
from alphaloop.errors import DataError, MissingStateError
from alphaloop.runtime.file_lock import exclusive_lock
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame
from features.feature_set import FeatureSet, default_feature_set, feature_set_of
from features.store import bulk
from features.store.feast.connection import (
    BUILD_HINT,
    ONLINE_FILE,
    REGISTRY_FILE,
    feast_definitions,
    open_feast,
    translated_feast,
)
from features.store.feast.view_names import is_further_view, service_name
from features.store.offline_files import OfflineFiles, require_joinable
from features.store.online_address import SQLITE, OnlineAddress, online_address

OFFLINE_FOLDER = "offline"


class FeatureStore:
    """The Feast store in `folder`, for one feature set.

    Nothing is created before `apply`.

    Parameters
    ----------
    folder : Path
        Folder of Feast's registry and of the SQLite online store.
    feature_set : FeatureSet, optional
        Features of the store; the default feature set if omitted.
    online : str or OnlineAddress, default "sqlite"
        Online store: `sqlite`, or `redis://host:port/db`; see `features.store.online_address`.
    offline : str, default ""
        Folder or `s3://bucket/path` of the offline features; a subfolder of `folder` if empty.

    Raises
    ------
    InputError
        For an address of an online store that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        feature_set: FeatureSet | None = None,
        *,
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
    ) -> None:
        self._folder, self._online = Path(folder), online_address(online)
        self._set = feature_set or default_feature_set()
        self._files = OfflineFiles(offline or str(self._folder.resolve() / OFFLINE_FOLDER))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the store of the settings' feature set, folders and addresses."""
        wanted = settings.features
        return cls(
            settings.paths.feast,
            feature_set_of(settings),
            online=wanted.online,
            offline=settings.locations.offline_features,
        )

    def apply(self, further: Iterable[str] | None = None) -> None:
        """Register the definitions with Feast and create its registry and online tables.

        May be repeated. Definitions of another feature set are deleted, except views of further windows (see
        `features.store.streamer`); if `further` is given, those too, except the views it names. Several
        processes may call this at once: a lock serialises them, because creating a fresh registry twice at a
        time fails.
        """
        self._register(
            self.definitions(further or ()), lambda one: further is not None or not is_further_view(one.name)
        )

    def apply_windows(self, further: Iterable[str]) -> None:
        """Register the online views only; definitions for training stay unchanged."""
        self._register(
            feast_definitions().online_definitions(self._files, further),
            lambda one: is_further_view(one.name),
        )

    def _register(self, wanted: list[Any], ours: Callable[[Any], bool]) -> None:
        """Register `wanted` with Feast and delete our views and services that are not in it."""
        with exclusive_lock(self._folder / "apply.lock"), translated_feast(self._folder, self._online):
            former = [one for one in self._former(wanted) if ours(one)]
            self._feast.apply(wanted, objects_to_delete=former, partial=False)
            if not self._online.remote:
                # In WAL mode, readers in other processes and the streamer never wait for each other.
                with sqlite3.connect(self._folder / ONLINE_FILE) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                connection.close()

    def definitions(self, further: Iterable[str] = ()) -> list[Any]:
        """Return the Feast definitions: entity, views, and the feature set as a service."""
        objects: list[Any] = feast_definitions().all_definitions(self._set, self._files, further)
        return objects

    @property
    def further(self) -> tuple[str, ...]:
        """Views of further windows that are registered with Feast now."""
        if not (self._folder / REGISTRY_FILE).is_file():
            return ()
        with translated_feast(self._folder, self._online):
            known = [view.name for view in self._feast.list_feature_views()]
        return tuple(filter(is_further_view, known))

    def write_offline(self, frame: FeatureFrame, name: str = "features") -> str:
        """Replace the offline features called `name` (one file for each universe) by those of `frame`.

        Returns the file's address. Raises `DataError` if the frame is of another feature set, or if one of
        its symbols is in another file, because the value known at a moment would be ambiguous then. Raises
        `InputError` for feature names that Feast or DuckDB cannot join.
        """
        if frame.feature_set != self._set.hash:
            raise DataError(
                f"these features are of set {frame.feature_set[:12]}; this store is for {self._set.hash[:12]}"
            )
        require_joinable(self._set.names)
        self._files.require_elsewhere_absent(frame.symbols, name)
        return self._files.write(frame, name)

    def build_offline(
        self, read: bulk.ReadBars, symbols: tuple[str, ...], timestamps: Timestamps, name: str = "features"
    ) -> str:
        """Build the offline features of a universe larger than memory; see `bulk.build_in_chunks`.

        `timestamps` are the closes to build, `datetime64[ns]` `[bars]`.
        """
        require_joinable(self._set.names)
        self._files.require_elsewhere_absent(symbols, name)
        self._files.replace_file(
            name, lambda path: bulk.build_in_chunks(read, symbols, timestamps, self._set, path)
        )
        return self._files.address(name)

    def training_frame(self, rows: pa.Table) -> pa.Table:
        """Join features to `rows` (columns `symbol` and `timestamp`) with Feast, as of each timestamp.

        Features older than a day become null. Feast is the reference; `read` gives the same in a fraction of
        the time. Offline features in a bucket are copied to this machine first, because Feast would read
        buckets through a DuckDB extension that has to be downloaded. Raises `MissingStateError` if there are
        no offline features.
        """
        self._require_offline()
        if not self._files.remote:
            return self._joined_by_feast(rows)
        with tempfile.TemporaryDirectory(prefix="alphaloop-offline-") as folder:
            copy = FeatureStore(Path(folder), self._set)
            self._files.copy_to(Path(folder) / OFFLINE_FOLDER)
            copy.apply()
            return copy._joined_by_feast(rows)

    def read(self, rows: pa.Table) -> pa.Table:
        """Join features to `rows` as `training_frame` does, with one ASOF join of DuckDB over the same files.

        Meant for large tables. Raises `MissingStateError` if there are no offline features.
        """
        self._require_offline()
        return self._files.join(rows, self._set.names)

    def _joined_by_feast(self, rows: pa.Table) -> pa.Table:
        # Feast returns rows in another order, so they are numbered.
        entities = rows.select(["symbol", "timestamp"]).to_pandas()
        entities = entities.rename(columns={"timestamp": "event_timestamp"}).assign(row=range(len(entities)))
        with translated_feast(self._folder):
            service = self._feast.get_feature_service(service_name(self._set.hash))
            job = self._feast.get_historical_features(entity_df=entities, features=service)
            joined: pa.Table = job.to_arrow()
        _close_ibis()
        joined = joined.sort_by("row").rename_columns({"event_timestamp": "timestamp"})
        return joined.select(["symbol", "timestamp", *self._set.names])

    @cached_property
    def _feast(self) -> Any:
        return open_feast(self._folder, self._online)

    def _former(self, wanted: list[Any]) -> list[Any]:
        """Return the registered views and services that are not in `wanted`."""
        names = {(type(one), one.name) for one in wanted}
        self._feast.refresh_registry()
        known = [*self._feast.list_feature_services(), *self._feast.list_feature_views()]
        return [one for one in known if (type(one), one.name) not in names]

    def _require_offline(self) -> None:
        if not self._files.exist:
            raise MissingStateError(f"there are no offline features in {self._files}; {BUILD_HINT}")


def _close_ibis() -> None:
    """Close the connection that Feast's join leaves open in ibis, of which DuckDB complains at exit."""
    import ibis

    backend = ibis.options.default_backend
    if backend is not None:
        backend.disconnect()
        ibis.options.default_backend = None
