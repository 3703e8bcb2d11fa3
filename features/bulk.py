"""Backfill of universes that do not fit in memory: by chunks of symbols, and of bars where they must meet.

Gives the same features as `features.build.backfill`, in files on the way, with memory bounded by the
chunk and not by the universe.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.errors import DataError
from alphaloop.market import BarPanel, Timestamps
from features import inputs, offline
from features.build import FeatureFrame
from features.operator import Axes, Matrix
from features.sets import FeatureSet
from features.stages import Stage, plan

Read = Callable[[tuple[str, ...]], BarPanel]
BETWEEN = "between:"
VALUES_AT_ONCE = 4_000_000
"""Values of one column that a chunk holds."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """What was built: `rows` of features in the file `path`."""

    path: Path
    rows: int
    symbols: int
    features: int


def build(
    read: Read, symbols: tuple[str, ...], timestamps: Timestamps, feature_set: FeatureSet, path: Path
) -> Bulk:
    """Write the features of `symbols` to the Parquet file `path`, replacing it at once or not at all.

    `read` gives the bars of some symbols, all on `timestamps`; it is called once for each chunk and
    stage. Raises `DataError` for bars on other timestamps, or that lack a column which a feature needs.
    """
    if not symbols or not len(timestamps):
        raise DataError("there is nothing to build features of: no symbols, or no bars")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bulk-", dir=path.parent) as folder:
        work = _Work(Path(folder), read, symbols, timestamps, feature_set)
        for stage in plan([feature.column for feature in feature_set.features]):
            work.run(stage)
        rows = _write(work, path)
    return Bulk(path, rows, len(symbols), len(feature_set))


class _Work:
    """The series that are there so far, each in a file of its own."""

    def __init__(
        self, folder: Path, read: Read, symbols: tuple[str, ...], times: Timestamps, feature_set: FeatureSet
    ) -> None:
        self.symbols, self.times, self.feature_set = symbols, times, feature_set
        self._folder, self._read = folder, read
        self._series: dict[str, npt.NDArray[np.generic]] = {}

    def run(self, stage: Stage) -> None:
        """Compute one stage, chunk by chunk."""
        for name in stage.names:
            kind = np.float64 if name.startswith(BETWEEN) else np.float32
            file = self._folder / f"{len(self._series)}.series"
            shape = (len(self.symbols), len(self.times))
            self._series[name] = np.memmap(file, dtype=kind, mode="w+", shape=shape)
        for rows, columns in self._chunks(stage):
            axes = Axes(self.times[rows], self.symbols[columns])
            given = self._inputs(stage, rows, columns)
            with np.errstate(over="ignore"):
                for place, matrix in stage.graph.batch(given, axes):
                    self._series[stage.names[place]][columns, rows] = matrix.T

    def features(self, columns: slice) -> FeatureFrame:
        """The finished features of some symbols."""
        names = self.feature_set.names
        values = np.stack([self._series[str(place)][columns] for place in range(len(names))])
        return FeatureFrame(
            self.times, self.symbols[columns], names, values.transpose(2, 1, 0), self.feature_set.hash
        )

    def chunks_of_symbols(self) -> Iterator[slice]:
        """Slices of the symbols, as many as fit."""
        step = max(VALUES_AT_ONCE // (len(self.times) * max(len(self.feature_set) // 16, 1)), 1)
        return (slice(first, first + step) for first in range(0, len(self.symbols), step))

    def _chunks(self, stage: Stage) -> Iterator[tuple[slice, slice]]:
        if stage.axis == "symbols":
            return ((slice(None), columns) for columns in self.chunks_of_symbols())
        step = max(VALUES_AT_ONCE // (len(self.symbols) * 8), 1)
        return ((slice(first, first + step), slice(None)) for first in range(0, len(self.times), step))

    def _inputs(self, stage: Stage, rows: slice, columns: slice) -> Mapping[str, Matrix]:
        given: dict[str, Matrix] = {
            name: np.asarray(self._series[name][columns, rows], dtype=np.float64).T
            for name in stage.graph.inputs
            if name.startswith(BETWEEN)
        }
        wanted = [name for name in stage.graph.inputs if not name.startswith(BETWEEN)]
        if wanted:
            bars = self._bars(columns)
            given |= {name: values[rows] for name, values in inputs.columns(bars, wanted).items()}
        return given

    def _bars(self, columns: slice) -> BarPanel:
        bars = self._read(self.symbols[columns])
        if not np.array_equal(bars.timestamps, self.times) or bars.symbols != self.symbols[columns]:
            raise DataError("the bars of a chunk have other timestamps or symbols than were asked for")
        return bars


def _write(work: _Work, path: Path) -> int:
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial")
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for columns in work.chunks_of_symbols():
            table: pa.Table = offline.as_table(work.features(columns))
            writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()
    os.replace(partial, path)
    return rows
