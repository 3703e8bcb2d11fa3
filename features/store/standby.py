"""Standby writer: waits for the lease on the online store, and continues where the last writer stopped.

All of a writer's state is in the snapshots, because each bar is stored there before its features are
computed. A standby that gets the lease rebuilds from the newest snapshot, writes its last bar (which a writer
that died between storing and publishing did not), and processes the bars that closed meanwhile. A repeated
bar changes nothing.
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
from features.store.live_writer import LiveFeatureWriter, SpecsInUse
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.redis_lease import DEFAULT_LEASE_SECONDS
from features.store.streamer import Streamer, take_writer_lease
from features.store.writer_lease import LeaseHeldError, WriterLease
from marketdata.configured_source import chosen_identity, newest_snapshot
from marketdata.storage.snapshots import Snapshot, SnapshotStore

MissedBars = Callable[[datetime], Iterable[Slice]]
SpecsInUseFactory = Callable[[tuple[str, ...]], SpecsInUse]


class Standby:
    """Waits for the right to write the windows of `symbols`, from the snapshots of `source`.

    `missed` returns the bars that closed after a moment, in order, as a provider knows them: those without a
    writer. Without it, further bars come only from `Duty.on_bar`. `further` takes the symbols of the snapshot
    and returns the callable through which the live writer asks what else the versions in use need. A lease in
    Redis is free `lease_seconds` after its holder died, one on a file at once.
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
        missed: MissedBars | None = None,
        further: SpecsInUseFactory | None = None,
        online: str | OnlineAddress = SQLITE,
        offline: str = "",
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
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
        """Return a standby for the online store, feature set, snapshots and source of the settings."""
        # Adopts a snapshot from before options were part of a source's identity.
        newest_snapshot(settings)
        wanted = settings.features
        return cls(
            settings.paths.feast,
            feature_set_of(settings),
            symbols,
            wanted.window,
            clock,
            snapshots=SnapshotStore(settings.locations.snapshots),
            source=chosen_identity(settings),
            online=wanted.online,
            offline=wanted.offline,
            **options,
        )

    def take_over(self, timeout: float | None = None, pause: float = 0.25) -> LiveFeatureWriter | None:
        """Wait until the lease is free, then continue; return None if it is held for `timeout` seconds.

        Tries every `pause` seconds. Raises `MissingStateError` if there is no snapshot of the source.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            try:
                lease = take_writer_lease(self._folder, self._online, self._lease_seconds)
            except LeaseHeldError:
                if deadline is not None and monotonic() >= deadline:
                    return None
                sleep(pause)
            else:
                return self._begin(lease)

    def _begin(self, lease: WriterLease) -> LiveFeatureWriter:
        """Rebuild, now that the last writer can no longer store bars."""
        try:
            newest = self._newest()
            history = BarPanel.from_table(self._snapshots.load(newest.id))
            # Read now, because versions in use may have changed while this standby waited.
            in_use = self._further(history.symbols)
            options: dict[str, Any] = {
                **self._options, "history": history, "lease": lease, "further": in_use(),
            }  # fmt: skip
            duty = LiveFeatureWriter(Streamer(**options), self._snapshots, newest.id, in_use)
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
        """Return the newest snapshot, or a descendant of it.

        A paused writer that lost its lease and resumed may have named an older snapshot as the newest.
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
