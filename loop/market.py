"""Market of a run: past bars, and the bars to trade after the last decision in the journal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from alphaloop.bars import BarPanel, to_datetime, to_datetime64
from alphaloop.errors import InputError, UnknownNameError
from loop import workspace
from loop.turn import ReplayMarket
from marketdata.configured_source import chosen_identity
from marketdata.storage.incremental import missing_rows
from marketdata.storage.snapshots import Snapshot, SnapshotStore
from trading.progress import TradingProgress

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

TimeSpan = tuple[datetime, datetime]


def market_to_trade(
    settings: Settings, days: TimeSpan | None, progress: TradingProgress | None
) -> ReplayMarket:
    """Split the market into bars up to the last decision and bars to decide.

    A book with decisions continues with the next bar, one after the other, whatever snapshots were stored
    meanwhile; `days` only chooses the first bar of a new book.

    Parameters
    ----------
    settings : Settings
        Source, symbols and paths.
    days : tuple of datetime, optional
        First and last time to trade, in UTC; without it, all bars that are new.
    progress : TradingProgress or None
        Progress of the book in the journal; None for a new book.

    Returns
    -------
    ReplayMarket

    Raises
    ------
    InputError
        Where no bar is new, or where a new book would begin before the end of this workspace's snapshot.
    """
    store = SnapshotStore(settings.locations.snapshots)
    line = _line_of(settings, store, progress)
    opened = line or workspace.latest_bars(settings)[0]
    newest = _newest_after(store, opened) if line else opened
    first, until = days or (None, None)
    bars = workspace.extended_bars(settings, newest, until)
    decided = progress.decided if progress else None
    if decided is None:
        known_to = opened.last
        if first is not None and first <= known_to:
            raise InputError(
                f"--replay from {first.date()} begins before {known_to.date()}, up to which this workspace "
                "knows the market; in a fresh one (ALPHALOOP_HOME), `alphaloop features build --until` the "
                "day before, and train there"
            )
    else:
        known_to, first = decided, None
    return _parted(settings, store, newest, bars, known_to, first, until, resumed=line is not None)


def _parted(
    settings: Settings,
    store: SnapshotStore,
    newest: Snapshot,
    bars: BarPanel,
    known_to: datetime,
    first: datetime | None,
    until: datetime | None,
    *,
    resumed: bool,
) -> ReplayMarket:
    """Split `bars` after `known_to`, or before `first` where that is later."""
    # Journal and headers keep times to the microsecond.
    times = bars.timestamps.astype("datetime64[us]")
    begin = int(np.searchsorted(times, to_datetime64(known_to), "right"))
    if first is not None:
        begin = max(begin, int(np.searchsorted(times, to_datetime64(first), "left")))
    end = len(bars) if until is None else int(np.searchsorted(times, to_datetime64(until), "right"))
    if not 0 < begin < end:
        raise InputError(
            f"no bar is new: the bars up to {known_to.date()} are known, and none follows in the days asked "
            "for; --replay names days"
        )
    past = bars.between(end=to_datetime(bars.timestamps[begin - 1]))
    future = bars.between(
        start=to_datetime(bars.timestamps[begin]), end=to_datetime(bars.timestamps[end - 1])
    )
    snapshot = _holding(store, newest, past, chosen_identity(settings))
    return ReplayMarket(settings.data.source, past, future, snapshot, resumed=resumed)


def _line_of(settings: Settings, store: SnapshotStore, progress: TradingProgress | None) -> Snapshot | None:
    """Find the snapshot behind the book.

    Returns None where it is gone or belongs to another market.
    """
    symbols = settings.data.symbols or workspace.workspace_source(settings).symbols()
    for name in progress.snapshots if progress else ():
        try:
            snapshot = store.describe(name)
        except UnknownNameError:
            continue
        same_source = snapshot.source == chosen_identity(settings)
        if same_source and workspace.holds_symbols(settings, _symbols(store, snapshot), symbols):
            return snapshot
    return None


def _symbols(store: SnapshotStore, snapshot: Snapshot) -> tuple[str, ...]:
    return BarPanel.from_table(store.load(snapshot.id)).symbols


def _newest_after(store: SnapshotStore, snapshot: Snapshot) -> Snapshot:
    """Return the newest snapshot appended to `snapshot`, or `snapshot` itself."""
    later: dict[str | None, Snapshot] = {}
    for one in store.stored():
        known = later.get(one.parent)
        if known is None or one.last > known.last:
            later[one.parent] = one
    while snapshot.id in later:
        snapshot = later[snapshot.id]
    return snapshot


def _holding(store: SnapshotStore, newest: Snapshot, past: BarPanel, source: str) -> Snapshot:
    """Store the bars of `past`: appended to the ancestor of `newest` that they extend, or as a new base."""
    last = to_datetime(past.timestamps[-1])
    link: Snapshot | None = newest
    while link is not None and link.last > last:
        link = store.describe(link.parent) if link.parent else None
    if link is None:
        return store.save(past.to_table(), source)
    lacking = missing_rows(store.load(link.id), past.to_table())
    return store.append(link.id, lacking) if lacking.num_rows else link
