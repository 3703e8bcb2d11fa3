"""Streaming: the same features, carried forward bar by bar.

After the cast to float32 the values of features that promise it equal those of
`features.compute.batch.backfill` over the same bars bit for bit, provided that history begins at the same
bar: recursive indicators remember where they started.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, Slice, to_datetime, to_datetime64
from alphaloop.errors import DataError, UnknownNameError
from features.compute.batch import Panel
from features.engine import columns
from features.engine.operator import Axes
from features.feature_set import FeatureSet


class FeatureStream:
    """Features of `symbols`, standing after `history`.

    `UnknownNameError` for a symbol without history. Handles of TA-Lib cannot be pickled: make a new
    stream from history in each process.
    """

    def __init__(self, feature_set: FeatureSet, symbols: tuple[str, ...], history: BarPanel) -> None:
        for symbol in symbols:
            if symbol not in history.symbols:
                raise UnknownNameError("symbol", symbol, history.symbols, where="the history of this stream")
        columns.require(history, feature_set.needed)
        self._set = feature_set
        self._symbols = symbols
        self._last: datetime | None = to_datetime(history.timestamps[-1]) if len(history) else None
        graph = feature_set.graph
        past = history.select(symbols)
        axes = Axes.of(past.timestamps, symbols, past.calendar)
        self._stream = graph.stream(columns.columns(past, graph.inputs), axes)

    @property
    def last(self) -> datetime | None:
        """The bar it stands after; None before the first."""
        return self._last

    def update(self, bars: Slice) -> Panel:
        """The features of one more bar, float32 `[symbols, features]`; NaN for symbols that lack it.

        Raises `DataError` for a bar that is not later than the last.
        """
        if self._last is not None and bars.timestamp <= self._last:
            raise DataError(
                f"the bar of {bars.timestamp.isoformat()} is not later than {self._last.isoformat()}, "
                "where this stream stands; bars come in order, each once"
            )
        given = {
            name: columns.aligned(values, bars.symbols, self._symbols)
            for name, values in columns.adjusted(bars, self._set.graph.inputs).items()
        }
        row = self._stream.update(given, to_datetime64(bars.timestamp))
        self._last = bars.timestamp
        with np.errstate(over="ignore"):
            return np.array(row).T.astype(np.float32)
