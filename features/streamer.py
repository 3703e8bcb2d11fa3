"""The streamer: carries features forward bar by bar and is the only writer of the online store.

It holds the store's lease. SQLite would let an older row overwrite a newer one, so it looks first.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from alphaloop.clock import Clock
from alphaloop.errors import DataError, InputError
from alphaloop.market import BarPanel, Slice, to_datetime64
from features.build import FeatureFrame, Panel, backfill
from features.lease import Lease
from features.sets import FeatureSet
from features.store import FeatureStore, OnlineReader, open_feast, translated
from features.stream import FeatureStream
from features.windows import pack

LEASE_FILE = "streamer.lease"


class Streamer:
    """Publishes the features of `symbols` from the bar after `history` on.

    `window` is how many rows the store keeps of each symbol. `replace` lets a replay write over rows
    that are newer than its own. Raises `InputError` if another streamer holds the lease.
    """

    def __init__(
        self,
        folder: Path,
        feature_set: FeatureSet,
        symbols: tuple[str, ...],
        history: BarPanel,
        window: int,
        clock: Clock,
        *,
        replace: bool = False,
    ) -> None:
        if window < 1:
            raise InputError(f"a window has {window} rows; it needs at least one")
        self._folder, self._set, self._symbols, self._clock = Path(folder), feature_set, symbols, clock
        self._stream = FeatureStream(feature_set, symbols, history)
        self._windows = _last_rows(backfill(history.select(symbols), feature_set), window)
        self._bar = self._stream.last
        self._latest: Slice | None = None
        self._written: tuple[datetime, str] | None = None
        self._lease = Lease(self._folder / LEASE_FILE, "the right to write the online store")
        try:
            FeatureStore(self._folder, feature_set).apply()
            self._feast = open_feast(self._folder)
            with translated(self._folder):
                self._view = self._feast.get_feature_view("windows")
            self._keys = [_entity_key(symbol) for symbol in symbols]
            self._newest = None if replace else self._newest_stored()
        except BaseException:
            self._lease.close()
            raise

    def publish(self, bars: Slice, snapshot: str) -> Panel:
        """Carry the features on by one bar and write the windows; float32 `[symbols, features]`.

        `snapshot` is the data that the bar was stored in. The same bar again changes nothing. Raises
        `DataError` for a bar older than the last, or than what the store holds.
        """
        self._require_lease()
        self._refuse_older(bars.timestamp)
        if self._latest is not None and bars.timestamp == self._bar:
            self._require_same(bars, self._latest)
        else:
            row = self._stream.update(bars)
            self._windows = np.concatenate([self._windows[:, 1:], row[:, None]], axis=1)
            self._bar, self._latest = bars.timestamp, bars
        self._write(snapshot)
        latest: Panel = self._windows[:, -1].copy()
        return latest

    def materialize(self, snapshot: str = "") -> None:
        """Write the windows as they stand; after history, before the first live bar."""
        self._require_lease()
        if self._bar is None:
            raise DataError("there is no bar to materialize; the history of this streamer is empty")
        self._refuse_older(self._bar)
        self._write(snapshot)

    def close(self) -> None:
        """Give up the lease; a second time does nothing."""
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, snapshot: str) -> None:
        if self._bar is None or self._written == (self._bar, snapshot):
            return
        from feast.protos.feast.types.Value_pb2 import Value

        bar, now = to_datetime64(self._bar), self._clock.now()
        shared = {"snapshot": Value(string_val=snapshot), "feature_set": Value(string_val=self._set.hash)}
        rows = [
            (key, {"window": Value(bytes_val=pack(window, bar)), **shared}, self._bar, now)
            for key, window in zip(self._keys, self._windows, strict=True)
        ]
        # One transaction: a reader sees all symbols of a bar or none of them.
        with translated(self._folder):
            self._feast.provider.online_write_batch(self._feast.config, self._view, rows, None)
        self._newest, self._written = self._bar, (self._bar, snapshot)

    def _newest_stored(self) -> datetime | None:
        stored = OnlineReader(self._folder).stored(self._symbols)
        return max((one.bar for one in stored.values()), default=None)

    def _refuse_older(self, bar: datetime) -> None:
        if self._newest is not None and bar < self._newest:
            raise DataError(
                f"the online store in {self._folder} holds {self._newest.isoformat()}, and the older bar of "
                f"{bar.isoformat()} would overwrite it; go on from there, or replay with replace=True"
            )

    def _require_lease(self) -> None:
        if not self._lease.held:
            raise InputError("this streamer is closed; make a new one to write the online store")

    def _require_same(self, bars: Slice, latest: Slice) -> None:
        if bars.symbols != latest.symbols or not np.array_equal(
            bars.adjusted_close, latest.adjusted_close, equal_nan=True
        ):
            raise DataError(
                f"the bar of {bars.timestamp.isoformat()} was published before with other prices; "
                "a correction needs a new streamer from corrected history"
            )


def _last_rows(frame: FeatureFrame, window: int) -> Panel:
    """The last `window` rows, float32 `[symbols, window, features]`; all NaN where history is empty."""
    if len(frame):
        return frame.window(len(frame) - 1, window)
    return np.full((len(frame.symbols), window, len(frame.names)), np.nan, dtype=np.float32)


def _entity_key(symbol: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)])
