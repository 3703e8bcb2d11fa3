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
from alphaloop.universe_mask import outside_universe
from features.engine import columns
from features.engine.operator import Axes
from features.feature_set import FeatureSet

Panel = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureFrame:
    """Features of a universe over time.

    Parameters
    ----------
    timestamps : ndarray of datetime64[ns], shape (T,)
        Closes of the bars in UTC.
    symbols : tuple of str
        Symbols, `N` of them.
    names : tuple of str
        Features, `F` of them.
    values : ndarray of float32, shape (T, N, F)
        Values; NaN where unknown.
    feature_set : str
        Hash of the feature set that `names` come from.
    definition : mapping, optional
        `FeatureSet.definition` of that set; empty if it is not known.
    outside : ndarray of bool, shape (T, N), optional
        Bars at which a symbol was not a member of the universe; its values there are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from features.compute.batch import FeatureFrame
    >>> times = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> values = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    >>> frame = FeatureFrame(times, ("A", "B"), ("rsi_14",), values, "")
    >>> frame.window(2, 2)[0].ravel().tolist()
    [2.0, 4.0]
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    values: Panel
    feature_set: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    outside: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    def index_of(self, timestamp: datetime) -> int:
        """Return the row of the bar at `timestamp`. Raises `DataError` if there is none."""
        wanted = to_datetime64(timestamp)
        index = int(np.searchsorted(self.timestamps, wanted))
        if index == len(self) or self.timestamps[index] != wanted:
            raise DataError(f"there are no features at {timestamp.isoformat()}; they cover {self._span()}")
        return index

    def window(self, index: int, lookback: int) -> Panel:
        """Return the `lookback` rows up to and including `index`, float32 `[symbols, lookback, features]`.

        Rows before the first bar are NaN. Raises `DataError` for an index out of range or an empty window.
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
    """Compute the features of every bar.

    A bar that a symbol lacks has no features; its later ones are computed as if the missing bar did not
    exist. A bar at which a symbol was not a member of the universe has no features either, and is not among
    those that it is ranked with; the symbol's own later features are computed over it.

    Parameters
    ----------
    bars : BarPanel
        Bars as traded, with their adjustment factors.
    feature_set : FeatureSet
        Features to compute.

    Returns
    -------
    FeatureFrame
        float32 values `[timestamps, symbols, features]`; NaN before a feature has settled.

    Raises
    ------
    DataError
        If the bars lack a column that a feature needs.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.bars import BarPanel
    >>> from features.compute.batch import backfill
    >>> from features.feature_set import FeatureSet
    >>> times = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> price = np.array([[100.0], [110.0], [99.0]])
    >>> bars = BarPanel(times, ("A",), price, price, price, price, np.ones((3, 1)), np.ones((3, 1)))
    >>> backfill(bars, FeatureSet(["rocp(1)"])).values.ravel().tolist()
    [nan, 0.10000000149011612, -0.10000000149011612]
    """
    columns.require_columns(bars, feature_set.needed)
    graph, axes = feature_set.graph, Axes.of(bars.timestamps, bars.symbols, bars.calendar)
    outside = outside_universe(bars)
    # A feature's series of a symbol is contiguous in memory, as it is computed and read.
    values = np.empty((len(feature_set), len(bars.symbols), len(bars)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for index, matrix in graph.batch(columns.contiguous_columns(bars, graph.inputs), axes, outside):
            values[index] = matrix.T
    if outside is not None:
        values[:, outside.T] = np.nan
    return FeatureFrame(
        timestamps=bars.timestamps,
        symbols=bars.symbols,
        names=feature_set.names,
        values=values.transpose(2, 1, 0),
        feature_set=feature_set.hash,
        definition=feature_set.definition,
        outside=outside,
    )
