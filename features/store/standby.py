"""A standby: waits for the right to write the online store, and goes on where the last writer stopped.

What a writer knew is in the snapshots, since each bar is stored there before features are made of it. So a
standby that gets the lease rebuilds from the newest snapshot, writes its last bar (a writer that died
between storing and publishing left that undone), and takes the bars that closed meanwhile. A bar that it
is given again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from alphaloop.bars import BarPanel, Slice
from alphaloop.clock import Clock, monotonic, sleep
from alphaloop.errors import DataError, MissingStateError
from alphaloop.settings.settings import Settings
from features.feature_set import FeatureSet, feature_set_of
from features.store.live_writer import Duty, InUse
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.redis_lease import SECONDS
from features.store.streamer import Streamer, claim
from features.store.writer_lease import LeaseHeldError, WriterLease
from marketdata.configured_source import chosen_identity, newest_snapshot
from marketdata.storage.snapshots import Snapshot, SnapshotStore

Missed = Callable[[datetime], Iterable[Slice]]
Needed = Callable[[tuple[str, ...]], InUse]


class Standby:
    """Waits to write the windows of `symbols`, from the snapshots of `source`.

    `missed` gives the bars that closed after a moment, in order, as a provider knows them: those of the time
    when nobody wrote. Without it the next bars come from `Duty.on_bar` alone. `further` makes, for the
    symbols that there are bars of, what tells `features.store.live_writer.Duty` what versions in use need
    besides. A lease in Redis is free `lease_seconds` after its holder died, one on a file at once.
    """

    def __init__(
        self,
        folder: Path,
        feature_set: FeatureSet,
        symbols: tuple[str, ...],
        window: int,
        clock: Clock,
        *,
        snapshots: SnapshotStore,
        source: str,
        missed: Missed | None = None,
        further: Needed | None = None,
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
        lease_seconds: float = SECONDS,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._folder, self._online = Path(folder), online_address(online)
        self._symbols, self._snapshots, self._source = symbols, snapshots, source
        self._missed = missed or (lambda last: ())
        self._further = further or (lambda symbols: tuple)
        self._options = {"folder": folder, "feature_set": feature_set, "symbols": symbols, "window": window}
        self._options |= {"clock": clock, "online": self._online, "offline": offline}

    @classmethod
    def from_settings(
        cls, settings: Settings, symbols: tuple[str, ...], clock: Clock, **options: Any
    ) -> Self:
        """A standby for the online store, feature set, snapshots and source of the settings."""
        # A snapshot of before options were part of a source's identity is taken over here.
        newest_snapshot(settings)
        wanted = settings.features
        return cls(
            settings.paths.feast,
            feature_set_of(settings),
            symbols,
            wanted.window,
            clock,
            snapshots=SnapshotStore(settings.paths.snapshots),
            source=chosen_identity(settings),
            online=wanted.online,
            offline=wanted.offline,
            **options,
        )

    def take_over(self, timeout: float | None = None, pause: float = 0.25) -> Duty | None:
        """Wait until the lease is free, and go on from there; None if it was held for `timeout` seconds.

        Asks every `pause` seconds. Raises `MissingStateError` if there is no snapshot of the source.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            try:
                lease = claim(self._folder, self._online, self._lease_seconds)
            except LeaseHeldError:
                if deadline is not None and monotonic() >= deadline:
                    return None
                sleep(pause)
            else:
                return self._begin(lease)

    def _begin(self, lease: WriterLease) -> Duty:
        """Rebuild; only now, since the last writer stored bars for as long as it had the lease."""
        try:
            newest = self._newest()
            history = BarPanel.from_table(self._snapshots.load(newest.id))
            # What is in use now, and was not yet when this standby began to wait.
            in_use = self._further(history.symbols)
            options: dict[str, Any] = {
                **self._options, "history": history, "lease": lease, "further": in_use(),
            }  # fmt: skip
            duty = Duty(Streamer(**options), self._snapshots, newest.id, in_use)
            duty.streamer.materialize(newest.id)
            for bars in self._missed(newest.last):
                if bars.timestamp <= newest.last:
                    raise DataError(
                        f"the bar of {bars.timestamp.isoformat()} was given as one after "
                        f"{newest.last.isoformat()}"
                    )
                duty.on_bar(bars)
        except BaseException:
            lease.close()
            raise
        return duty

    def _newest(self) -> Snapshot:
        """The newest snapshot, or what was stored after it.

        A writer that was paused, lost its lease and woke can name an older one as the newest.
        """
        newest = self._snapshots.latest(self._source)
        if newest is None:
            raise MissingStateError(
                f"there is no snapshot of '{self._source}' to go on from; "
                "make one with: alphaloop features build"
            )
        later: dict[str | None, Snapshot] = {}
        for one in self._snapshots.stored():
            known = later.get(one.parent)
            if known is None or one.last > known.last:
                later[one.parent] = one
        while newest.id in later:
            newest = later[newest.id]
        return newest
