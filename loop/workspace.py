"""Workspace of the settings: source, checked bars, snapshots and registry."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from alphaloop.errors import InputError, MissingStateError
from marketdata.configured_quality import quality_policies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alphaloop.bars import BarPanel
    from alphaloop.settings.settings import Settings
    from marketdata.source import LiveSource, Source
    from marketdata.storage.snapshots import Snapshot
    from models.registry.model_registry import Registry


def workspace_source(settings: Settings) -> Source:
    """Return the settings' source, or their providers as one source; raises `UnknownNameError`."""
    from marketdata.configured_source import chosen_source

    return chosen_source(settings)


def live_source(settings: Settings, frequency: str = "1d") -> LiveSource:
    """Return the settings' providers, or their one source, as one stream with failover.

    The first healthy provider is used, the others are standbys. Raises `InputError` for a source that has
    no stream.
    """
    from marketdata.configured_source import chosen_feed

    return chosen_feed(settings)


def latest_bars(settings: Settings) -> tuple[Snapshot, BarPanel]:
    """Load the newest snapshot of the source and its bars.

    The first call stores the source's history.

    Parameters
    ----------
    settings : Settings
        Source, symbols, quality policies and paths.

    Returns
    -------
    tuple of Snapshot and BarPanel

    Raises
    ------
    UnknownNameError
        For a source or symbol that does not exist.
    DataError
        For bars that the quality rules reject.
    InputError
        Where the newest snapshot holds other symbols than the settings.
    """
    from alphaloop.bars import BarPanel
    from marketdata.storage import incremental
    from marketdata.storage.snapshots import SnapshotStore

    source = workspace_source(settings)
    store = SnapshotStore(settings.locations.snapshots)
    snapshot = incremental.newest_of_source(store, source) or take_snapshot(settings)
    bars = BarPanel.from_table(store.load(snapshot.id))
    symbols = settings.data.symbols or source.symbols()
    if symbols and not holds_symbols(settings, bars.symbols, symbols):
        raise InputError(
            f"the newest snapshot of '{source.name}' holds {len(bars.symbols)} symbols "
            f"({', '.join(bars.symbols[:4])}, …) and the settings ask for {len(symbols)} "
            f"({', '.join(symbols[:4])}, …); set data.symbols, or store these with: alphaloop features build"
        )
    return snapshot, bars


def holds_symbols(settings: Settings, stored: Sequence[str], symbols: Sequence[str]) -> bool:
    """Return True if bars of `stored` symbols are those of the market with `symbols`.

    Of a universe's members, those without a bar in the time that is stored may be missing.
    """
    if settings.data.universe and not settings.data.symbols:
        return set(stored) <= set(symbols)
    return set(stored) == set(symbols)


def extended_bars(settings: Settings, snapshot: Snapshot, until: datetime | None = None) -> BarPanel:
    """Return the stored bars of a snapshot, followed by the source's later bars (up to `until`).

    The stored bars are kept even where the source has revised them since, so that trading continues from
    the bars on which the models were trained.
    """
    from alphaloop.bars import BarPanel
    from marketdata.storage import incremental
    from marketdata.storage.snapshots import SnapshotStore

    store = SnapshotStore(settings.locations.snapshots)
    known = store.load(snapshot.id)
    symbols = BarPanel.from_table(known).symbols
    since = incremental.later_bars(
        *(known, workspace_source(settings), symbols, *quality_policies(settings)),
        until=until,
        aside=incremental.all_excluded_bars(store, snapshot),
    )
    return BarPanel.from_table(known if since is None else incremental.join_bars(known, since.table), symbols)


def source_bars(settings: Settings, until: datetime | None = None) -> BarPanel:
    """Read and check all bars of the source (up to `until`) for the settings' symbols.

    Raises `DataError` for bars that the quality rules reject.
    """
    from alphaloop.bars import BarPanel
    from marketdata.configured_source import chosen_start
    from marketdata.quality.cleaning import clean_bars
    from marketdata.source import require_symbols, stated_frequency
    from marketdata.storage.incremental import history_from

    source = workspace_source(settings)
    symbols = require_symbols(source, settings.data.symbols)
    table = history_from(source, symbols, chosen_start(settings), until)
    name, stated = f"source '{source.name}'", stated_frequency(source)
    cleaned = clean_bars(table, source.calendar, name, *quality_policies(settings), frequency=stated)
    return BarPanel.from_table(cleaned.table)


def take_snapshot(settings: Settings, until: datetime | None = None) -> Snapshot:
    """Store the source's bars (up to `until`) with their quality report.

    The same bars give the same snapshot, which is stored once.

    Parameters
    ----------
    settings : Settings
        Source, symbols, first day, quality policies and paths.
    until : datetime, optional
        Last time to read, in UTC.

    Returns
    -------
    Snapshot

    Raises
    ------
    UnknownNameError
        For a source or symbol that does not exist.
    DataError
        For bars that the quality rules reject.
    """
    from marketdata.configured_source import chosen_start
    from marketdata.source import require_symbols
    from marketdata.storage import incremental
    from marketdata.storage.snapshots import SnapshotStore

    source = workspace_source(settings)
    return incremental.store_base_snapshot(
        SnapshotStore(settings.locations.snapshots),
        source,
        require_symbols(source, settings.data.symbols),
        *quality_policies(settings),
        start=chosen_start(settings),
        until=until,
    )


def writable_settings() -> Settings:
    """Load the settings for a command that writes.

    Raises `InputError` for a read-only home.
    """
    from alphaloop.settings import settings

    chosen = settings.load_settings()
    require_writable(chosen)
    return chosen


def require_writable(settings: Settings) -> None:
    """Raise `InputError` unless the home can be written or made; makes nothing."""
    home = settings.paths.home
    existing = next(one for one in (home, *home.parents) if one.exists())
    if not existing.is_dir():
        raise InputError(
            f"the home {home} cannot be made: {existing} is a file; set ALPHALOOP_HOME to a folder"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"the home {home} cannot be written: no right to {existing}; set ALPHALOOP_HOME")


def open_registry(settings: Settings) -> Registry:
    """Open the registry; raises `MissingStateError` before the first training."""
    from models.registry.configured_registry import configured_registry, has_registry, registry_name

    registry = configured_registry(settings)
    if not has_registry(settings) or not registry.models():
        raise MissingStateError(
            f"no model is registered in {registry_name(settings)}; `alphaloop train momentum` registers one"
        )
    return registry
