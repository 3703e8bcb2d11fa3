"""Streaming: the same features, carried forward bar by bar.

After the cast to float32 the values equal those of `features.build.backfill` over the same bars bit for
bit, provided that history begins at the same bar: recursive indicators remember where they started.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from alphaloop.errors import DataError, UnknownNameError
from alphaloop.market import BarPanel, FloatMatrix, Slice, to_datetime
from features.build import Panel, assemble, require_inputs
from features.sets import FeatureSet


class FeatureStream:
    """Features of `symbols`, standing after `history`.

    `UnknownNameError` for a symbol without history. Handles of TA-Lib cannot be pickled: make a new
    stream from history in each process.
    """

    def __init__(self, feature_set: FeatureSet, symbols: tuple[str, ...], history: BarPanel) -> None:
        for symbol in symbols:
            if symbol not in history.symbols:
                raise UnknownNameError("symbol", symbol, history.symbols, where="the history of this stream")
        require_inputs(history, feature_set)
        self._set = feature_set
        self._symbols = symbols
        self._last: datetime | None = to_datetime(history.timestamps[-1]) if len(history) else None
        close = history.select(symbols).adjusted_close
        finite = [close[np.isfinite(close[:, column]), column] for column in range(len(symbols))]
        self._handles = {
            feature.name: [feature.stream(series) for series in finite]
            for feature in feature_set.price_features
        }

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
        prices = self._prices(bars)
        series: dict[str, FloatMatrix] = {}
        for name, handles in self._handles.items():
            row = [
                handle.update(price) if finite else np.nan
                for handle, (price, finite) in zip(handles, prices, strict=True)
            ]
            series[name] = np.array([row])
        self._last = bars.timestamp
        panel: Panel = assemble(series, self._set)[0]
        return panel

    def _prices(self, bars: Slice) -> list[tuple[float, bool]]:
        adjusted = bars.adjusted_close
        if bars.symbols != self._symbols:
            column = {symbol: index for index, symbol in enumerate(bars.symbols)}
            adjusted = np.array([adjusted[column[s]] if s in column else np.nan for s in self._symbols])
        finite = np.isfinite(adjusted)
        return list(zip(adjusted.tolist(), finite.tolist(), strict=True))
