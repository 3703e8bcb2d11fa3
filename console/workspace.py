"""What commands need of the workspace: the settings' symbols as bars, clean and under a snapshot."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from alphaloop.errors import InputError, MissingStateError, UnknownNameError

SERVER_POLL_SECONDS = 0.5

if TYPE_CHECKING:
    from alphaloop.market import BarPanel
    from alphaloop.settings import Settings
    from features.cleaning import Policies
    from features.quality import Thresholds
    from features.source import LiveSource, Source
    from features.storage.snapshots import Snapshot
    from models.registry import Registry


def source_of(settings: Settings) -> Source:
    """The source that the settings name, or their providers as one; `UnknownNameError` for another."""
    from features.chosen import chosen_source

    return chosen_source(settings)


def live_source(settings: Settings, frequency: str = "1d") -> LiveSource:
    """The providers of the settings (or the one source) behind one stream.

    The first that is well is believed, the others stand by. Raises `InputError` for a source that has no
    stream.
    """
    from features.chosen import chosen_feed

    return chosen_feed(settings)


def policies_of(settings: Settings) -> tuple[Policies, Thresholds]:
    """What follows from findings about bars, and the limits of the rules; `InputError` for a wrong one."""
    from dataclasses import fields

    from features.cleaning import Policies
    from features.quality import Thresholds

    limits = {one.name for one in fields(Thresholds)} - {"holidays"}
    for name in settings.data.thresholds:
        if name not in limits:
            raise UnknownNameError("quality threshold", name, limits, where="data.thresholds")
    thresholds = Thresholds(**settings.data.thresholds, holidays=settings.data.holidays)
    return Policies(settings.data.quality), thresholds  # type: ignore[arg-type]


def latest_bars(settings: Settings) -> tuple[Snapshot, BarPanel]:
    """The newest snapshot of the source and its bars; the source's history is stored if there is none.

    Raises `UnknownNameError` for a source or symbol that does not exist, `DataError` for bars that must
    not be believed, and `InputError` where the newest snapshot is of other symbols than the settings'.
    """
    from alphaloop.market import BarPanel
    from features.storage import incremental
    from features.storage.snapshots import SnapshotStore

    source = source_of(settings)
    store = SnapshotStore(settings.paths.snapshots)
    snapshot = incremental.newest(store, source) or take_snapshot(settings)
    bars = BarPanel.from_table(store.load(snapshot.id))
    wanted = settings.data.symbols or source.symbols()
    if wanted and set(wanted) != set(bars.symbols):
        raise InputError(
            f"the newest snapshot of '{source.name}' holds {len(bars.symbols)} symbols "
            f"({', '.join(bars.symbols[:4])}, …) and the settings ask for {len(wanted)} "
            f"({', '.join(wanted[:4])}, …); set data.symbols, or store these with: alphaloop features build"
        )
    return snapshot, bars


def bars_to(settings: Settings, snapshot: Snapshot, until: datetime | None = None) -> BarPanel:
    """The bars of a snapshot, as they are stored, and what the source has had since (up to `until`).

    So what was learned from is what is gone on from, though the source may say otherwise by now.
    """
    from alphaloop.market import BarPanel
    from features.storage import incremental
    from features.storage.snapshots import SnapshotStore

    store = SnapshotStore(settings.paths.snapshots)
    known = store.load(snapshot.id)
    symbols = BarPanel.from_table(known).symbols
    since = incremental.later(
        *(known, source_of(settings), symbols, *policies_of(settings)),
        until=until,
        aside=incremental.set_aside(store, snapshot),
    )
    return BarPanel.from_table(known if since is None else incremental.joined(known, since.table), symbols)


def source_bars(settings: Settings, until: datetime | None = None) -> BarPanel:
    """All bars of the source (up to `until`) for the settings' symbols, checked."""
    from alphaloop.market import BarPanel
    from features.chosen import chosen_start
    from features.cleaning import clean
    from features.source import require_symbols, stated_frequency
    from features.storage.incremental import history_from

    source = source_of(settings)
    wanted = require_symbols(source, settings.data.symbols)
    table = history_from(source, wanted, chosen_start(settings), until)
    name, stated = f"source '{source.name}'", stated_frequency(source)
    cleaned = clean(table, source.calendar, name, *policies_of(settings), frequency=stated)
    return BarPanel.from_table(cleaned.table)


def take_snapshot(settings: Settings, until: datetime | None = None) -> Snapshot:
    """Store the source's bars (up to `until`) with their quality report; the same bars, the same snapshot."""
    from features.chosen import chosen_start
    from features.source import require_symbols
    from features.storage import incremental
    from features.storage.snapshots import SnapshotStore

    source = source_of(settings)
    return incremental.take(
        SnapshotStore(settings.paths.snapshots),
        source,
        require_symbols(source, settings.data.symbols),
        *policies_of(settings),
        start=chosen_start(settings),
        until=until,
    )


def writable_settings() -> Settings:
    """The settings for a command that writes; refused at once where their home cannot be written."""
    from alphaloop import settings

    chosen = settings.load()
    require_writable(chosen)
    return chosen


def require_writable(settings: Settings) -> None:
    """Raise `InputError` unless the home can be written, or made; nothing is made here."""
    home = settings.paths.home
    place = next(one for one in (home, *home.parents) if one.exists())
    if not place.is_dir():
        raise InputError(f"the home {home} cannot be made: {place} is a file; set ALPHALOOP_HOME to a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"the home {home} cannot be written: no right to {place}; set ALPHALOOP_HOME")


def open_registry(settings: Settings) -> Registry:
    """The registry; `MissingStateError` before the first training."""
    from models.registry import Registry

    folder = settings.paths.registry
    registry = Registry(folder)
    if not folder.exists() or not registry.models():
        raise MissingStateError(
            f"no model is registered in {folder}; `alphaloop train momentum` registers one"
        )
    return registry


def require_server(settings: Settings, wait_seconds: float = 0.0) -> None:
    """Raise `MissingStateError` unless a server answers where the settings say, within `wait_seconds`.

    Raises `TlsError` where one is there that the client's settings of TLS do not fit.
    """
    from alphaloop.clock import monotonic, sleep
    from console import output

    # Of a handshake that fails gRPC writes a line of its own, without the way out.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    deadline, waiting = monotonic() + wait_seconds, False
    while silent := _silent_servers(settings):
        if monotonic() >= deadline:
            waited = f" after {wait_seconds:g} s" if wait_seconds else ""
            raise MissingStateError(
                f"no server answers on {silent}{waited}; start one with `alphaloop serve`"
            )
        if not waiting:
            output.complain(f"waiting for a server on {silent}, {wait_seconds:g} s at most")
            waiting = True
        sleep(min(SERVER_POLL_SECONDS, wait_seconds))


def _silent_servers(settings: Settings) -> str:
    """The servers that were asked where none of them answers; empty where one does."""
    from serving.client import PredictionClient

    # A client anew each time: one that was refused waits longer and longer before it tries again.
    with PredictionClient.from_settings(settings) as client:
        return "" if client.live() else client.url
