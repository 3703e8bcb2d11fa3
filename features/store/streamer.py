"""The streamer: carries features forward bar by bar and is the only writer of the online store.

It holds the store's lease: a lock on a file beside SQLite, a key in Redis. SQLite would let an older row
overwrite a newer one, so it looks first; Redis looks in the same script that writes.

A version that is served may have been trained on another feature set than the settings', or on ranks over
another universe: a champion beside its successor. Such further windows are carried forward with the settings'
own, and lie in views of their own. They come and go with the rollouts, while the streamer runs.
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
from features.store.feast.connection import open_feast, translated
from features.store.feast.view_names import ONLINE_VIEW, further_view
from features.store.feature_store import FeatureStore
from features.store.online import OnlineReader
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.redis_lease import SECONDS, RedisLease
from features.store.window_stream import Further, WindowStream
from features.store.window_streams import Carried
from features.store.windows import Made
from features.store.writer_lease import Lease, WriterLease

LEASE_FILE = "streamer.lease"
RIGHT = "the right to write the online store"


def claim(folder: Path, online: str | OnlineAddress = SQLITE, seconds: float = SECONDS) -> WriterLease:
    """The right to write the online store; `features.store.writer_lease.LeaseHeldError` names who has it.

    In Redis it is free `seconds` after the death of its holder; on a file at once.
    """
    address = online_address(online)
    if address.remote:
        return RedisLease(address, RIGHT, seconds)
    return Lease(Path(folder) / LEASE_FILE, RIGHT)


class Streamer:
    """Publishes the features of `symbols` from the bar after `history` on.

    `window` is how many rows the store keeps of each symbol, `further` what versions in use need besides:
    of that, what these bars do not allow is left out, and the log says so.
    `replace` lets a replay write over rows that are newer than its own. `lease` is one that the caller
    claimed; it is closed with the streamer. Raises `InputError` if another streamer holds the lease.
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
        further: Sequence[Further] = (),
        replace: bool = False,
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
        lease: WriterLease | None = None,
    ) -> None:
        self._folder, self._symbols, self._clock = Path(folder), symbols, clock
        self._online = online_address(online)
        self._lease = lease or claim(self._folder, self._online)
        try:
            main = WindowStream(feature_set, symbols, history, window)
            self._carried = Carried(main, window, further, history)
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
        return self._carried.last

    @property
    def made(self) -> tuple[Made, ...]:
        """What the windows that it writes are made of, the settings' own first."""
        return self._carried.main.made, *self._carried.further

    def require_lease(self) -> None:
        """Raise `LeaseLostError` if another writer took over, `InputError` if this one is closed."""
        self._require_lease()
        self._lease.require()

    def carry_besides(self, further: Sequence[Further], history: Callable[[], BarPanel]) -> None:
        """Carry these and no other further windows from the next bar on.

        `history` gives the bars up to the last one, the same as this streamer began with and was given; it
        is asked where something is new. What was wanted before and is not any more is still carried until
        the next call: a server may be a moment behind. Of what the bars do not allow the log says so, once.
        Raises `DataError` for a history that ends elsewhere, and as `require_lease` does.
        """
        self._require_lease()
        held = self._carried.next(further, history)
        if held.keys() != self._carried.further.keys():
            # What goes is not written any more, whatever becomes of its view.
            self._carried.keep(held)
            # The next writer's views are not ours to delete.
            self.require_lease()
            self._store.apply_windows([further_view(made) for made in held])
            self._hold(held)

    def publish(self, bars: Slice, snapshot: str) -> Panel:
        """Carry the features on by one bar and write the windows; float32 `[symbols, features]`.

        `snapshot` is the data that the bar was stored in. The same bar again changes nothing. Raises
        `DataError` for a bar older than the last, or than what the store holds.
        """
        self._require_lease()
        self._refuse_older(bars.timestamp)
        self._carried.carry(bars)
        self._write(snapshot)
        return self._carried.main.latest

    def materialize(self, snapshot: str = "") -> None:
        """Write the windows as they stand; after history, before the first live bar."""
        self._require_lease()
        if self.last is None:
            raise DataError("there is no bar to materialize; the history of this streamer is empty")
        self._refuse_older(self.last)
        self._write(snapshot)

    def close(self) -> None:
        """Give up the lease; a second time does nothing."""
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
        with translated(self._folder, self._online):
            # The settings' own last: who finds a bar there finds it everywhere.
            for one in reversed([*self._carried]):
                # One transaction, or one script: a reader sees all symbols of a bar or none of them.
                rows = _rows(one, snapshot, bar, now)
                self._feast.provider.online_write_batch(self._feast.config, self._views[one.made], rows, None)
        self._newest, self._written = bar, (bar, snapshot)

    def _open(self, replace: bool) -> None:
        self._store.apply(further=[further_view(made) for made in self._carried.further])
        self._hold(self._carried.further)
        with translated(self._folder, self._online):
            if self._online.remote:
                self._feast.provider.online_store.fence(self._lease, replace)
        self._newest = None if replace else self._newest_stored()

    def _hold(self, further: dict[Made, WindowStream]) -> None:
        """Write these from now on; Feast knows their views."""
        with translated(self._folder, self._online):
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
                f"{RIGHT} in {self._place} was taken from this streamer; nothing was written: close it"
            )

    @property
    def _place(self) -> Path | OnlineAddress:
        return self._online if self._online.remote else self._folder


def _rows(windows: WindowStream, snapshot: str, bar: datetime, written: datetime) -> list[Any]:
    """What Feast writes: each symbol's key and values, their bar, and when they were written."""
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
