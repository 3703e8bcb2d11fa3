"""The streamer: updates features bar by bar and is the only writer of the online store.

It holds the store's lease: a lock on a file beside SQLite, a key in Redis. SQLite would let an older row
overwrite a newer one, so the streamer checks first; in Redis the writing script checks.

A served version may have been trained on another feature set than the settings', or on ranks over another
universe: a champion beside its successor. Such further windows are updated with the settings' own and stored
in separate views. They are added and dropped with the rollouts, while the streamer runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from alphaloop.bars import BarPanel, Slice
from alphaloop.clock import Clock
from alphaloop.errors import DataError, InputError, LeaseLostError
from alphaloop.settings.settings import Settings
from features.compute.batch import Panel
from features.feature_set import FeatureSet, feature_set_of
from features.store.feast.connection import open_feast, translated_feast
from features.store.feast.view_names import ONLINE_VIEW, further_view
from features.store.feature_store import FeatureStore
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.online_reader import OnlineReader
from features.store.redis_lease import DEFAULT_LEASE_SECONDS, RedisLease
from features.store.window_stream import FeatureSpec, WindowStream
from features.store.window_streams import WindowStreams
from features.store.windows import WindowKey
from features.store.writer_lease import FileLease, WriterLease

LEASE_FILE = "streamer.lease"
WRITE_RIGHT = "the right to write the online store"


def take_writer_lease(
    folder: Path, online: str | OnlineAddress = SQLITE, seconds: float = DEFAULT_LEASE_SECONDS
) -> WriterLease:
    """Take the lease on the online store.

    Raises `features.store.writer_lease.LeaseHeldError`, which names the holder. A lease in Redis is free
    `seconds` after the death of its holder, one on a file at once.
    """
    address = online_address(online)
    if address.remote:
        return RedisLease(address, WRITE_RIGHT, seconds)
    return FileLease(Path(folder) / LEASE_FILE, WRITE_RIGHT)


class Streamer:
    """Publishes the features of `symbols` from the bar after `history` on.

    Parameters
    ----------
    folder : Path
        Folder of the feature store.
    feature_set : FeatureSet
        Features of the settings' own windows.
    symbols : tuple of str
        Symbols to write.
    history : BarPanel
        Bars up to the last one before the stream.
    window : int
        Rows that the store keeps of each symbol.
    clock : Clock
        Source of the time of writing.
    further : sequence of (FeatureSet, tuple of str), default ()
        Further feature sets and universes that versions in use need. A set that the bars do not allow is left
        out and logged.
    replace : bool, default False
        Whether a replay may overwrite rows newer than its own.
    online : str or OnlineAddress, default "sqlite"
        Online store; see `features.store.online_address`.
    offline : str, default ""
        Folder or bucket of the offline features.
    lease : WriterLease, optional
        Lease that the caller took; it is closed with the streamer.

    Raises
    ------
    InputError
        If another streamer holds the lease (`LeaseHeldError`), for a window without rows, or an unreadable
        address.
    UnknownNameError
        For a symbol without history.
    DataError
        If the bars lack a column that a feature needs.
    MissingPartError
        If Feast is not installed.
    VendorError
        If Redis cannot be reached.
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
        further: Sequence[FeatureSpec] = (),
        replace: bool = False,
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
        lease: WriterLease | None = None,
    ) -> None:
        self._folder, self._symbols, self._clock = Path(folder), symbols, clock
        self._online = online_address(online)
        self._lease = lease or take_writer_lease(self._folder, self._online)
        try:
            main = WindowStream(feature_set, symbols, history, window)
            self._carried = WindowStreams(main, window, further, history)
            self._written: tuple[datetime, str] | None = None
            self._newest: datetime | None = None
            self._store = FeatureStore(self._folder, feature_set, online=self._online, offline=offline)
            self._open(replace)
        except BaseException:
            self._lease.close()
            raise

    @classmethod
    def from_settings(
        cls, settings: Settings, symbols: tuple[str, ...], history: BarPanel, clock: Clock, **options: Any
    ) -> Self:
        """Return a streamer with the online store, feature set and window of the settings."""
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
        """Timestamp of the last bar; None before the first."""
        return self._carried.last

    @property
    def made(self) -> tuple[WindowKey, ...]:
        """Feature set and universe of each kind of window written, the settings' own first."""
        return self._carried.main.made, *self._carried.further

    def require_lease(self) -> None:
        """Raise `LeaseLostError` if another writer took over, `InputError` if this one is closed."""
        self._require_lease()
        self._lease.require()

    def set_further(self, further: Sequence[FeatureSpec], history: Callable[[], BarPanel]) -> None:
        """Update exactly these further windows, besides the main ones, from the next bar on.

        `history` returns the bars up to the last one, the same that this streamer began with and received; it
        is called only if a set is new. Windows no longer requested are kept until the next call, because a
        server may be a moment behind. Sets that the bars do not allow are logged once. Raises `DataError` for
        a history that ends elsewhere, and `LeaseLostError` as `require_lease` does.
        """
        self._require_lease()
        held = self._carried.plan(further, history)
        if held.keys() != self._carried.further.keys():
            # Dropped windows are written no more, even if deleting their views fails below.
            self._carried.keep_only(held)
            # After a takeover the views belong to the next writer, so check before deleting any.
            self.require_lease()
            self._store.apply_windows([further_view(made) for made in held])
            self._hold(held)

    def publish(self, bars: Slice, snapshot: str) -> Panel:
        """Update the features by one bar and write the windows.

        Parameters
        ----------
        bars : Slice
            Bar as traded. The last bar again changes nothing.
        snapshot : str
            Id of the snapshot that the bar was stored in.

        Returns
        -------
        ndarray of float32, shape (symbols, features)
            Features of the bar.

        Raises
        ------
        DataError
            For a bar older than the last or than what the store holds, and for the last bar with other
            prices.
        LeaseLostError
            If another writer took over.
        InputError
            If this streamer is closed.
        VendorError
            If Redis cannot be reached.
        """
        self._require_lease()
        self._refuse_older(bars.timestamp)
        self._carried.update(bars)
        self._write(snapshot)
        return self._carried.main.latest

    def materialize(self, snapshot: str = "") -> None:
        """Write the current windows, after history and before the first live bar.

        Raises `LeaseLostError` if another writer took over, and `DataError` where there is no bar yet or the
        online store holds a later one.
        """
        self._require_lease()
        if self.last is None:
            raise DataError("there is no bar to materialize; the history of this streamer is empty")
        self._refuse_older(self.last)
        self._write(snapshot)

    def close(self) -> None:
        """Release the lease; may be repeated."""
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, snapshot: str) -> None:
        bar = self.last
        if bar is None or self._written == (bar, snapshot):
            return
        now = self._clock.now()
        with translated_feast(self._folder, self._online):
            # The settings' own windows come last: a bar that is there is in all views.
            for one in reversed([*self._carried]):
                # One transaction or script: a reader sees all symbols of a bar or none.
                rows = _rows(one, snapshot, bar, now)
                self._feast.provider.online_write_batch(self._feast.config, self._views[one.made], rows, None)
        self._newest, self._written = bar, (bar, snapshot)

    def _open(self, replace: bool) -> None:
        self._store.apply(further=[further_view(made) for made in self._carried.further])
        self._hold(self._carried.further)
        with translated_feast(self._folder, self._online):
            if self._online.remote:
                self._feast.provider.online_store.fence(self._lease, replace)
        self._newest = None if replace else self._newest_stored()

    def _hold(self, further: dict[WindowKey, WindowStream]) -> None:
        """Write these windows from now on; their views are registered with Feast."""
        with translated_feast(self._folder, self._online):
            self._feast.refresh_registry()
            names = {self._carried.main.made: ONLINE_VIEW} | {made: further_view(made) for made in further}
            self._views = {made: self._feast.get_feature_view(name) for made, name in names.items()}
        self._carried.further = further

    @cached_property
    def _feast(self) -> Any:
        return open_feast(self._folder, self._online)

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
                f"{WRITE_RIGHT} in {self._place} was taken from this streamer; nothing was written: close it"
            )

    @property
    def _place(self) -> Path | OnlineAddress:
        return self._online if self._online.remote else self._folder


def _rows(windows: WindowStream, snapshot: str, bar: datetime, written: datetime) -> list[Any]:
    """Return rows as Feast writes them: key and values of each symbol, bar, and time of writing."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    made = windows.made
    lineage = {"snapshot": snapshot, "feature_set": made.feature_set, "universe": made.universe}
    shared = {name: Value(string_val=text) for name, text in lineage.items()}
    return [
        (
            EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)]),
            {"window": Value(bytes_val=packed), **shared},
            bar,
            written,
        )
        for symbol, packed in windows.packed()
    ]
