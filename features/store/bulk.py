"""Backfill of universes larger than memory, by chunks of symbols or of bars.

Gives the same features as `features.compute.batch.backfill`, through temporary files, with memory bounded by
the chunk and not by the universe.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from alphaloop.bars import BarPanel, Timestamps
from alphaloop.errors import DataError
from alphaloop.runtime.atomic_file import replace_file
from alphaloop.universe_mask import outside_universe
from features.compute.batch import FeatureFrame
from features.engine import columns as inputs
from features.engine.chunk_plan import ComputeStage, plan_chunks
from features.engine.operator import Axes, Matrix
from features.feature_set import FeatureSet
from features.store import offline_files
from marketdata.trading_days import TradingDays

ReadBars = Callable[[tuple[str, ...]], BarPanel]
INTERMEDIATE_PREFIX = "between:"
CHUNK_VALUES = 1_000_000
"""Values of one column that a chunk holds."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """Result of a bulk backfill: `rows` of features in the file `path`."""

    path: Path
    rows: int
    symbols: int
    features: int


def build_in_chunks(
    read: ReadBars, symbols: tuple[str, ...], timestamps: Timestamps, feature_set: FeatureSet, path: Path
) -> BulkResult:
    """Write the features of `symbols` to the Parquet file `path`, which is replaced atomically.

    `read` returns the bars of some symbols, all on `timestamps` and of one calendar; it is called once for
    each chunk and stage. Raises `DataError` for bars on other timestamps, or that lack a column which a
    feature needs, and `InputError` if the file cannot be written.
    """
    if not symbols or not len(timestamps):
        raise DataError("there is nothing to build features of: no symbols, or no bars")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bulk-", dir=path.parent) as folder:
        work = _Work(Path(folder), read, symbols, timestamps, feature_set)
        for stage in plan_chunks(feature_set.columns):
            work.run(stage)
        replace_file(path, partial(_write, work))
    return BulkResult(path, len(symbols) * len(timestamps), len(symbols), len(feature_set))


class _Work:
    """Series computed so far, each in a file of its own."""

    def __init__(
        self,
        folder: Path,
        read: ReadBars,
        symbols: tuple[str, ...],
        times: Timestamps,
        feature_set: FeatureSet,
    ) -> None:
        self.symbols, self.times, self.feature_set = symbols, times, feature_set
        self._folder, self._read = folder, read
        # Trading days of the bars' calendar, known after the first read.
        self._days: TradingDays | None = None
        self._shape = (len(symbols), len(times))
        self._files: dict[str, tuple[Path, type[np.floating[Any]]]] = {}

    def run(self, stage: ComputeStage) -> None:
        """Compute one stage, chunk by chunk."""
        for name in stage.names:
            kind = np.float64 if name.startswith(INTERMEDIATE_PREFIX) else np.float32
            file = self._folder / f"{len(self._files)}.series"
            np.memmap(file, dtype=kind, mode="w+", shape=self._shape)
            self._files[name] = (file, kind)
        for rows, columns in self._chunks(stage):
            # Earlier bars that the chunk's first values depend on.
            early = min(stage.lookback - 1, rows.start)
            seen = slice(rows.start - early, rows.stop)
            given = self._inputs(stage, seen, columns)
            axes = Axes(self.times[seen], self.symbols[columns], self._days or TradingDays.of(self.times))
            with np.errstate(over="ignore"):
                for index, matrix in stage.graph.batch(given, axes):
                    self._opened(stage.names[index], "r+")[columns, rows] = matrix[early:].T

    def features(self, columns: slice) -> FeatureFrame:
        """Return the finished features of some symbols."""
        features = self.feature_set
        values = np.stack([self._opened(str(index))[columns] for index in range(len(features))])
        return FeatureFrame(
            self.times,
            self.symbols[columns],
            features.names,
            values.transpose(2, 1, 0),
            features.hash,
            features.definition,
        )

    def chunks_of_symbols(self) -> Iterator[slice]:
        """Yield slices of the symbols, each as large as a chunk allows."""
        step = max(CHUNK_VALUES // (len(self.times) * max(len(self.feature_set) // 16, 1)), 1)
        return (slice(first, first + step) for first in range(0, len(self.symbols), step))

    def _chunks(self, stage: ComputeStage) -> Iterator[tuple[slice, slice]]:
        if stage.axis == "symbols":
            return ((slice(0, len(self.times)), columns) for columns in self.chunks_of_symbols())
        step = max(CHUNK_VALUES // (len(self.symbols) * 8), 1)
        whole = slice(0, len(self.symbols))
        return ((slice(first, first + step), whole) for first in range(0, len(self.times), step))

    def _inputs(self, stage: ComputeStage, rows: slice, columns: slice) -> Mapping[str, Matrix]:
        given: dict[str, Matrix] = {
            name: np.array(self._opened(name)[columns, rows], dtype=np.float64).T
            for name in stage.graph.inputs
            if name.startswith(INTERMEDIATE_PREFIX)
        }
        wanted = [name for name in stage.graph.inputs if not name.startswith(INTERMEDIATE_PREFIX)]
        if wanted:
            bars = self._bars(columns)
            given |= {name: values[rows] for name, values in inputs.contiguous_columns(bars, wanted).items()}
        return given

    def _opened(self, name: str, mode: Literal["r", "r+"] = "r") -> npt.NDArray[np.floating[Any]]:
        """Map the series `[N, T]`; it takes no memory once the caller releases it."""
        file, kind = self._files[name]
        return np.memmap(file, dtype=kind, mode=mode, shape=self._shape)

    def _bars(self, columns: slice) -> BarPanel:
        bars = self._read(self.symbols[columns])
        if not np.array_equal(bars.timestamps, self.times) or bars.symbols != self.symbols[columns]:
            raise DataError("the bars of a chunk have other timestamps or symbols than were asked for")
        if outside_universe(bars) is not None:
            raise DataError(
                "bars of a universe with changing members are not computed in bulk; use "
                "features.compute.batch.backfill"
            )
        if self._days is None:
            self._days = TradingDays.of(self.times, bars.calendar)
        return bars


def _write(work: _Work, path: Path) -> None:
    schema = offline_files.to_feature_table(work.features(slice(0))).schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for columns in work.chunks_of_symbols():
            writer.write_table(offline_files.to_feature_table(work.features(columns)))
