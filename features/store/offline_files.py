"""Features at rest: Parquet files, one row a symbol and bar, and their point-in-time join by DuckDB.

The files are those that Feast reads, in a folder or in a bucket. Its join is the reference; this one
gives the same rows in a fraction of the time, and is meant for bulk. A symbol is in one file alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaloop.errors import DamagedStoreError, DataError, InputError
from alphaloop.runtime.atomic_file import replace_with
from features.compute.batch import FeatureFrame
from marketdata.files.location import FAILURES, Storage
from marketdata.files.object_store import environment_endpoint

# The cost of a point-in-time join grows with the rows inside the ttl, and a feature belongs to one bar.
TTL = timedelta(days=1)
SUFFIX = ".parquet"
RESERVED = {"symbol", "timestamp", "event_timestamp", "event_expire_timestamp", "row", "rn", "entity_row_id"}
FEAST_DROPS = "_y"
_MOMENT = pa.timestamp("us", tz="UTC")
_KNOWN = "known at"


class OfflineFiles:
    """The files of features at `location`, a folder or `s3://bucket/path`. Nothing is opened before use."""

    def __init__(self, location: str) -> None:
        self._storage = Storage(location)

    def __str__(self) -> str:
        return self._storage.label

    @property
    def remote(self) -> bool:
        """Whether they are in a bucket."""
        return self._storage.remote

    @property
    def endpoint(self) -> str:
        """The object store's address, where the environment names one; empty for a folder and for AWS."""
        return environment_endpoint() if self.remote else ""

    @property
    def there(self) -> bool:
        """Whether there is any."""
        return bool(self._names())

    def address(self, name: str) -> str:
        """Where the file `name` is; of all, if it is a `*`."""
        if self.remote:
            return f"{self._storage.label.rstrip('/')}/{name}{SUFFIX}"
        return f"{self._storage.root}/{name}{SUFFIX}"

    def write(self, frame: FeatureFrame, name: str) -> str:
        """Replace the file `name` by the features of `frame`, at once or not at all; its address."""
        self.receive(name, lambda path: pq.write_table(as_table(frame), path, compression="zstd"))
        return self.address(name)

    def receive(self, name: str, make: Callable[[Path], object]) -> None:
        """Let `make` write a file, which becomes `name` at once or not at all."""
        if not self.remote:
            replace_with(Path(self.address(name)), make)
            return
        with tempfile.TemporaryDirectory(prefix="alphaloop-offline-") as folder:
            path = Path(folder) / f"{name}{SUFFIX}"
            make(path)
            self._upload(path, name)

    def copy_to(self, folder: Path) -> None:
        """Copy every file into `folder`."""
        from pyarrow import fs

        folder.mkdir(parents=True, exist_ok=True)
        try:
            for path in self._paths():
                fs.copy_files(path, str(folder / Path(path).name), source_filesystem=self._storage.filesystem)
        except FAILURES as error:
            self._storage.fail(self._storage.label, "read", error)

    def require_elsewhere_absent(self, symbols: Sequence[str], name: str) -> None:
        """Raise `DataError` if one of `symbols` is in a file that is not called `name`."""
        new = pa.array(symbols, pa.string())
        for path in self._paths():
            if Path(path).stem == name:
                continue
            for batch in self._dataset([path]).to_batches(columns=["symbol"]):
                both = pc.unique(batch.column(0).filter(pc.is_in(batch.column(0), new)))
                if len(both):
                    raise DataError(
                        f"'{both[0]}' is in {Path(path).name} of {self} already; a symbol's features are in "
                        f"one file: write them under the name '{Path(path).stem}', or remove that file"
                    )

    def join(self, rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
        """The last features known at each of `rows` (`symbol`, `timestamp`), in their order.

        Null where the last are older than `TTL`. `DamagedStoreError` if the files cannot be read,
        `VendorError` if the bucket cannot.
        """
        import duckdb

        wanted = pa.table(
            {
                "symbol": rows["symbol"],
                # Files count in microseconds: what comes after one is known at it.
                "timestamp": rows["timestamp"].cast(_MOMENT, safe=False),
                "row": pa.array(np.arange(len(rows))),
            }
        )
        with duckdb.connect() as connection:
            try:
                connection.execute("SET TimeZone = 'UTC'")
                connection.register("wanted", wanted)
                if self.remote:
                    connection.register("stored", self._dataset(self._paths()))
                source = "stored" if self.remote else f"read_parquet({_quoted(self.address('*'))})"
                return connection.execute(_query(source, names)).to_arrow_table()
            except (duckdb.Error, *FAILURES) as error:
                if self.remote and isinstance(error, OSError):
                    self._storage.fail(self._storage.label, "read", error)
                raise DamagedStoreError(
                    f"the offline features in {self} cannot be joined: {error}; "
                    "build them anew: alphaloop features build"
                ) from error

    def _upload(self, path: Path, name: str) -> None:
        """A reader sees the file whole: it is sent under another name and then moved."""
        from pyarrow import fs

        filesystem, final = self._storage.filesystem, f"{self._storage.root}/{name}{SUFFIX}"
        partial = f"{self._storage.root}/_{name}.partial"
        try:
            fs.copy_files(str(path), partial, destination_filesystem=filesystem)
            filesystem.move(partial, final)
        except FAILURES as error:
            self._storage.fail(self.address(name), "written", error)

    def _names(self) -> list[str]:
        return [Path(path).stem for path in self._paths()]

    def _paths(self) -> list[str]:
        """Every file of features; none where there is no such place yet."""
        try:
            found = self._storage.files()
        except DataError:
            return []
        depth = self._storage.root.count("/") + 1
        return [path for path in found if path.endswith(SUFFIX) and path.count("/") == depth]

    def _dataset(self, paths: list[str]) -> Any:
        from pyarrow import dataset

        try:
            return dataset.dataset(paths, filesystem=self._storage.filesystem, format="parquet")
        except pa.ArrowInvalid as error:
            raise DamagedStoreError(
                f"the offline features in {self} cannot be read: {error}; "
                "build them anew: alphaloop features build"
            ) from error
        except FAILURES as error:
            self._storage.fail(self._storage.label, "read", error)


def as_table(frame: FeatureFrame) -> pa.Table:
    """Columns `symbol`, `timestamp` and one float32 column a feature; null where there is no value."""
    bars, symbols, _ = frame.values.shape
    moments = np.repeat(frame.timestamps.astype("datetime64[us]"), symbols)
    columns: dict[str, pa.Array] = {
        "symbol": pa.array(np.tile(np.array(frame.symbols, dtype=object), bars), pa.string()),
        "timestamp": pa.array(moments, _MOMENT),
    }
    for place, name in enumerate(frame.names):
        columns[name] = pa.array(frame.values[:, :, place].ravel(), pa.float32(), from_pandas=True)
    return pa.table(columns)


def require_joinable(names: tuple[str, ...]) -> None:
    """Raise `InputError` for names that Feast or DuckDB would take for one another or for their own."""
    seen: dict[str, str] = {}
    for name in names:
        lower = name.lower()
        if lower in RESERVED or lower.endswith(FEAST_DROPS):
            raise InputError(
                f"features at rest cannot be called '{name}': Feast's join has columns of its own named so "
                f"(those ending in {FEAST_DROPS} and {', '.join(sorted(RESERVED))}); write other = {name}"
            )
        if lower in seen:
            raise InputError(
                f"'{seen[lower]}' and '{name}' differ only in case, and DuckDB ignores it; rename one"
            )
        seen[lower] = name


def _query(source: str, names: tuple[str, ...]) -> str:
    fresh = f'f."{_KNOWN}" >= w.timestamp - to_seconds({int(TTL.total_seconds())})'
    columns = ", ".join(f'CASE WHEN {fresh} THEN f."{name}" END AS "{name}"' for name in names)
    stored = ", ".join(f'"{name}"' for name in names)
    # Names come from the catalogue and the path from settings: neither is anybody's input.
    return f"""
        SELECT w.symbol, w.timestamp, {columns}
        FROM wanted w ASOF LEFT JOIN
            (SELECT symbol, timestamp AS "{_KNOWN}", {stored} FROM {source}) f
            ON w.symbol = f.symbol AND w.timestamp >= f."{_KNOWN}"
        ORDER BY w.row
    """  # noqa: S608


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
