"""The streamer: carries features forward bar by bar and is the only writer of the online store.

It holds the store's lease: a lock on a file beside SQLite, a key in Redis. SQLite would let an older row
overwrite a newer one, so it looks first; Redis looks in the same script that writes.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from alphaloop.clock import Clock
from alphaloop.errors import DataError, InputError, LeaseLostError
from alphaloop.market import BarPanel, Slice, to_datetime64
from alphaloop.settings import Settings
from alphaloop.universe import hash_universe
from features import inputs
from features.build import FeatureFrame, Panel, backfill
from features.lease import Lease, WriterLease
from features.lease_redis import SECONDS, RedisLease
from features.online import SQLITE, OnlineAddress, online_address
from features.online_reader import OnlineReader
from features.repo.connection import open_feast, translated
from features.sets import FeatureSet, feature_set_of
from features.store import FeatureStore
from features.stream import FeatureStream
from features.windows import pack

LEASE_FILE = "streamer.lease"
RIGHT = "the right to write the online store"


def claim(folder: Path, online: str | OnlineAddress = SQLITE, seconds: float = SECONDS) -> WriterLease:
    """The right to write the online store; `features.lease.LeaseHeldError` names who has it.

    In Redis it is free `seconds` after the death of its holder; on a file at once.
    """
    address = online_address(online)
    if address.remote:
        return RedisLease(address, RIGHT, seconds)
    return Lease(Path(folder) / LEASE_FILE, RIGHT)


class Streamer:
    """Publishes the features of `symbols` from the bar after `history` on.

    `window` is how many rows the store keeps of each symbol. `replace` lets a replay write over rows
    that are newer than its own. `lease` is one that the caller claimed; it is closed with the streamer.
    Raises `InputError` if another streamer holds the lease.
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
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
        lease: WriterLease | None = None,
    ) -> None:
        self._folder, self._set, self._symbols, self._clock = Path(folder), feature_set, symbols, clock
        self._online = online_address(online)
        # Not whoever has a bar today: one that was delisted is of the universe still.
        self._universe = hash_universe(symbols) if feature_set.graph.cross else ""
        self._lease = lease or claim(self._folder, self._online)
        try:
            if window < 1:
                raise InputError(f"a window has {window} rows; it needs at least one")
            self._stream = FeatureStream(feature_set, symbols, history)
            past = history.select(symbols)
            self._windows = _last_rows(backfill(past, feature_set), window)
            self._bar: datetime | None = self._stream.last
            self._latest: Slice | None = past.at(len(past) - 1) if len(past) else None
            self._written: tuple[datetime, str] | None = None
            self._newest: datetime | None = None
            FeatureStore(self._folder, feature_set, online=self._online, offline=offline).apply()
            self._open(replace)
        except BaseException:
            self._lease.close()
            raise

    @classmethod
    def from_settings(
        cls, settings: Settings, symbols: tuple[str, ...], history: BarPanel, clock: Clock, **options: Any
    ) -> Self:
        """A streamer to the online store, with the feature set and the window, of the settings."""
        wanted = settings.features
        return cls(
            settings.paths.feast,
            feature_set_of(settings),
            symbols,
            history,
            wanted.window,
            clock,
            online=wanted.online,
            offline=wanted.offline,
            **options,
        )

    @property
    def last(self) -> datetime | None:
        """The bar it stands after; None before the first."""
        return self._bar

    def require_lease(self) -> None:
        """Raise `LeaseLostError` if another writer took over, `InputError` if this one is closed."""
        self._require_lease()
        self._lease.require()

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
        lineage = {"snapshot": snapshot, "feature_set": self._set.hash, "universe": self._universe}
        shared = {name: Value(string_val=text) for name, text in lineage.items()}
        rows = [
            (key, {"window": Value(bytes_val=pack(window, bar)), **shared}, self._bar, now)
            for key, window in zip(self._keys, self._windows, strict=True)
        ]
        # One transaction, or one script: a reader sees all symbols of a bar or none of them.
        with translated(self._folder, self._online):
            self._feast.provider.online_write_batch(self._feast.config, self._view, rows, None)
        self._newest, self._written = self._bar, (self._bar, snapshot)

    def _open(self, replace: bool) -> None:
        self._feast = open_feast(self._folder, self._online)
        with translated(self._folder, self._online):
            self._view = self._feast.get_feature_view("windows")
            if self._online.remote:
                self._feast.provider.online_store.fence(self._lease, replace)
        self._keys = [_entity_key(symbol) for symbol in self._symbols]
        self._newest = None if replace else self._newest_stored()

    def _newest_stored(self) -> datetime | None:
        stored = OnlineReader(self._folder, self._online).stored(self._symbols)
        return max((one.bar for one in stored.values()), default=None)

    def _refuse_older(self, bar: datetime) -> None:
        if self._newest is not None and bar < self._newest:
            raise DataError(
                f"the online store in {self._place} holds {self._newest.isoformat()}, and the older bar of "
                f"{bar.isoformat()} would overwrite it; go on from there, or replay with replace=True"
            )

    def _require_lease(self) -> None:
        if not self._lease.held:
            raise InputError("this streamer is closed; make a new one to write the online store")
        if self._lease.lost:
            raise LeaseLostError(
                f"{RIGHT} in {self._place} was taken from this streamer; nothing was written: close it"
            )

    def _require_same(self, bars: Slice, latest: Slice) -> None:
        """Raise `DataError` unless these are the bars that the features of this moment were made of."""
        names = self._set.graph.inputs
        for given, known in zip(
            inputs.adjusted(bars, names).values(), inputs.adjusted(latest, names).values(), strict=True
        ):
            one, other = (
                inputs.aligned(values, symbols, self._symbols)
                for values, symbols in ((given, bars.symbols), (known, latest.symbols))
            )
            if not np.array_equal(one, other, equal_nan=True):
                raise DataError(
                    f"the bar of {bars.timestamp.isoformat()} was published before with other prices; "
                    "a correction needs a new streamer from corrected history"
                )

    @property
    def _place(self) -> Path | OnlineAddress:
        return self._online if self._online.remote else self._folder


def _last_rows(frame: FeatureFrame, window: int) -> Panel:
    """The last `window` rows, float32 `[symbols, window, features]`; all NaN where history is empty."""
    if len(frame):
        return frame.window(len(frame) - 1, window)
    return np.full((len(frame.symbols), window, len(frame.names)), np.nan, dtype=np.float32)


def _entity_key(symbol: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)])
