"""Last rows of one feature set over one universe, updated bar by bar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, Slice, to_datetime64
from alphaloop.errors import DataError, InputError
from alphaloop.universe_hash import hash_universe
from features.compute.batch import FeatureFrame, Panel, backfill
from features.compute.stream import FeatureStream
from features.engine import columns
from features.feature_set import FeatureSet
from features.store.windows import WindowKey, pack_window

FeatureSpec = tuple[FeatureSet, tuple[str, ...]]
"""A feature set and the symbols that it is computed over."""


def window_key(feature_set: FeatureSet, symbols: tuple[str, ...]) -> WindowKey:
    """Return the hashes of feature set and universe that identify windows over `symbols`."""
    # All symbols, not only those with a bar today: a delisted one still belongs to the universe.
    return WindowKey(feature_set.hash, hash_universe(symbols) if feature_set.graph.cross else "")


class WindowStream:
    """The last `rows` rows of the features of `symbols`, updated bar by bar after `history`.

    `made` identifies their feature set and universe. Raises `InputError` if `rows` is below 1, and as
    `features.compute.stream.FeatureStream` does.
    """

    def __init__(
        self, feature_set: FeatureSet, symbols: tuple[str, ...], history: BarPanel, rows: int
    ) -> None:
        if rows < 1:
            raise InputError(f"a window has {rows} rows; it needs at least one")
        self.feature_set, self.symbols = feature_set, symbols
        self.made = window_key(feature_set, symbols)
        self._stream = FeatureStream(feature_set, symbols, history)
        past = history.select(symbols)
        self._windows = _last_rows(backfill(past, feature_set), rows)
        self._latest: Slice | None = past.at(len(past) - 1) if len(past) else None

    @property
    def last(self) -> datetime | None:
        """Timestamp of the last bar; None before the first."""
        return self._stream.last

    @property
    def latest(self) -> Panel:
        """Features of the last bar, float32 `[symbols, features]`."""
        latest: Panel = self._windows[:, -1].copy()
        return latest

    def update(self, bars: Slice) -> None:
        """Update by one bar; the last bar again changes nothing.

        Raises `DataError` for an older bar, and for the last one with other prices.
        """
        if self._latest is not None and bars.timestamp == self.last:
            self._require_same(bars, self._latest)
            return
        row = self._stream.update(bars)
        self._windows = np.concatenate([self._windows[:, 1:], row[:, None]], axis=1)
        self._latest = bars

    def packed(self) -> Iterator[tuple[str, bytes]]:
        """Yield each symbol with its packed window. Raises `DataError` before the first bar."""
        if self.last is None:
            raise DataError("there is no bar to write windows of; the history of this streamer is empty")
        bar = to_datetime64(self.last)
        for symbol, window in zip(self.symbols, self._windows, strict=True):
            yield symbol, pack_window(window, bar)

    def _require_same(self, bars: Slice, latest: Slice) -> None:
        """Raise `DataError` unless these are the bars the features were computed from."""
        names = self.feature_set.graph.inputs
        for given, known in zip(
            columns.adjusted_columns(bars, names).values(),
            columns.adjusted_columns(latest, names).values(),
            strict=True,
        ):
            one, other = (
                columns.align_symbols(values, symbols, self.symbols)
                for values, symbols in ((given, bars.symbols), (known, latest.symbols))
            )
            if not np.array_equal(one, other, equal_nan=True):
                raise DataError(
                    f"the bar of {bars.timestamp.isoformat()} was published before with other prices; "
                    "a correction needs a new streamer from corrected history"
                )


def _last_rows(frame: FeatureFrame, window: int) -> Panel:
    """Return the last `window` rows, float32 `[symbols, window, features]`; NaN without history."""
    if len(frame):
        return frame.window(len(frame) - 1, window)
    return np.full((len(frame.symbols), window, len(frame.names)), np.nan, dtype=np.float32)
