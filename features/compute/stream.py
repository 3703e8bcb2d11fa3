"""Streaming: the same features as in batch, updated bar by bar.

After the cast to float32, values of features that promise it equal those of `features.compute.batch.backfill`
over the same bars bit for bit, provided that history begins at the same bar: recursive indicators depend on
where they started.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, Slice, to_datetime, to_datetime64
from alphaloop.errors import DataError, UnknownNameError
from alphaloop.universe_mask import outside_universe
from features.compute.batch import Panel
from features.engine import columns
from features.engine.operator import Axes
from features.feature_set import FeatureSet


class FeatureStream:
    """Features of `symbols`, updated bar by bar after `history`.

    TA-Lib's handles cannot be pickled: build a new stream from history in each process.

    Parameters
    ----------
    feature_set : FeatureSet
        Features to compute.
    symbols : tuple of str
        Symbols, in the order of the results.
    history : BarPanel
        Bars before the first update.

    Raises
    ------
    UnknownNameError
        For a symbol that `history` does not have.
    DataError
        If the bars lack a column that a feature needs.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.bars import BarPanel
    >>> from features.compute.stream import FeatureStream
    >>> from features.feature_set import FeatureSet
    >>> times = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> price = np.array([[100.0], [110.0], [55.0]])
    >>> bars = BarPanel(times, ("A",), price, price, price, price, np.ones((3, 1)), np.ones((3, 1)))
    >>> stream = FeatureStream(FeatureSet(["rocp(1)"]), ("A",), bars.part(0, 2))
    >>> stream.update(bars.at(2)).tolist()
    [[-0.5]]
    """

    def __init__(self, feature_set: FeatureSet, symbols: tuple[str, ...], history: BarPanel) -> None:
        for symbol in symbols:
            if symbol not in history.symbols:
                raise UnknownNameError("symbol", symbol, history.symbols, where="the history of this stream")
        columns.require_columns(history, feature_set.needed)
        self._set = feature_set
        self._symbols = symbols
        self._last: datetime | None = to_datetime(history.timestamps[-1]) if len(history) else None
        graph = feature_set.graph
        past = history.select(symbols)
        axes = Axes.of(past.timestamps, symbols, past.calendar)
        inputs = columns.contiguous_columns(past, graph.inputs)
        self._stream = graph.stream(inputs, axes, outside_universe(past))

    @property
    def last(self) -> datetime | None:
        """Timestamp of the last bar; None before the first."""
        return self._last

    def update(self, bars: Slice) -> Panel:
        """Update by one bar and return its features.

        Parameters
        ----------
        bars : Slice
            Bar of any symbols, later than the last one.

        Returns
        -------
        ndarray of float32, shape (symbols, features)
            NaN for symbols that lack the bar, or are outside the universe at it.

        Raises
        ------
        DataError
            For a bar that is not later than the last, or that lacks a column.
        """
        if self._last is not None and bars.timestamp <= self._last:
            raise DataError(
                f"the bar of {bars.timestamp.isoformat()} is not later than {self._last.isoformat()}, "
                "where this stream stands; bars come in order, each once"
            )
        inputs = {
            name: columns.align_symbols(values, bars.symbols, self._symbols)
            for name, values in columns.adjusted_columns(bars, self._set.graph.inputs).items()
        }
        outside = outside_universe(bars)
        if outside is not None:
            outside = columns.align_symbols(outside.astype(np.float64), bars.symbols, self._symbols) == 1.0
        row = self._stream.update(inputs, to_datetime64(bars.timestamp), outside)
        self._last = bars.timestamp
        with np.errstate(over="ignore"):
            values = np.array(row).T.astype(np.float32)
        if outside is not None:
            values[outside] = np.nan
        return values
