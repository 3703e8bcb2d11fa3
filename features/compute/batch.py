"""Backfill: features of all bars at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, Timestamps, to_datetime, to_datetime64
from alphaloop.errors import DataError
from features.engine import columns
from features.engine.operator import Axes
from features.feature_set import FeatureSet

Panel = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureFrame:
    """Features of a universe: `values` is float32 `[timestamps, symbols, names]`, NaN where unknown.

    `feature_set` is the hash of the set that `names` come from, and `definition` its `FeatureSet.definition`,
    empty where that is not known.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    values: Panel
    feature_set: str
    definition: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.timestamps)

    def index_of(self, timestamp: datetime) -> int:
        """The row of a bar; `DataError` if there is none at that moment."""
        wanted = to_datetime64(timestamp)
        index = int(np.searchsorted(self.timestamps, wanted))
        if index == len(self) or self.timestamps[index] != wanted:
            raise DataError(f"there are no features at {timestamp.isoformat()}; they cover {self._span()}")
        return index

    def window(self, index: int, lookback: int) -> Panel:
        """The `lookback` rows up to and including `index`, float32 `[symbols, lookback, features]`.

        Rows before the first bar are NaN.
        """
        if not 0 <= index < len(self) or lookback < 1:
            raise DataError(f"no window of {lookback} rows at row {index}; there are {len(self)} rows")
        first = index + 1 - lookback
        rows = self.values[max(first, 0) : index + 1]
        window = np.full((lookback, *self.values.shape[1:]), np.nan, dtype=np.float32)
        window[lookback - len(rows) :] = rows
        return np.ascontiguousarray(window.transpose(1, 0, 2))

    def _span(self) -> str:
        if not len(self):
            return "nothing"
        ends = (to_datetime(self.timestamps[0]), to_datetime(self.timestamps[-1]))
        return " to ".join(end.isoformat() for end in ends)


def backfill(bars: BarPanel, feature_set: FeatureSet) -> FeatureFrame:
    """Features of every bar. `DataError` if the bars lack a column that a feature needs.

    A bar that a symbol lacks has no features; its later ones are computed as if time had skipped it.
    """
    columns.require(bars, feature_set.needed)
    graph, axes = feature_set.graph, Axes.of(bars.timestamps, bars.symbols, bars.calendar)
    # Each feature's series of a symbol is one stretch of memory: that is how they are computed and read.
    values = np.empty((len(feature_set), len(bars.symbols), len(bars)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for place, matrix in graph.batch(columns.columns(bars, graph.inputs), axes):
            values[place] = matrix.T
    return FeatureFrame(
        timestamps=bars.timestamps,
        symbols=bars.symbols,
        names=feature_set.names,
        values=values.transpose(2, 1, 0),
        feature_set=feature_set.hash,
        definition=feature_set.definition,
    )
