"""The source that the settings choose, and its newest snapshot.

Code that continues from stored bars asks here, since one workspace may hold snapshots of several sources,
or of one source with several options.
"""

from __future__ import annotations

from datetime import date, datetime

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError
from alphaloop.settings.settings import Settings
from marketdata.calendars import day_span
from marketdata.configured_records import configured_records, has_records, records_identity
from marketdata.feeds.failover import FailoverSource, identity_of_providers
from marketdata.feeds.failover_policy import FailoverPolicy
from marketdata.point_in_time.point_in_time_source import PointInTimeSource
from marketdata.quality.rules.holidays import session_predicate_without
from marketdata.source import LiveSource, Source, is_live
from marketdata.sources import registry
from marketdata.storage import incremental
from marketdata.storage.snapshots import Snapshot, SnapshotStore


def chosen_source(settings: Settings) -> Source:
    """Return the source named in the settings, or its providers combined into one.

    Parameters
    ----------
    settings
        Uses `data.providers`, and `data.source` where no provider is named; and the files of records, as
        `data.universe`.

    Returns
    -------
    Source
        A `FailoverSource` if providers are named; a `PointInTimeSource` around it if records are.

    Raises
    ------
    UnknownNameError
        For a source that does not exist.
    InputError
        For a provider without a stream.
    DataError
        For a file of records that cannot be read.
    """
    data = settings.data
    source: Source = chosen_feed(settings) if data.providers else registry.find_source(data.source)
    return PointInTimeSource(source, configured_records(data)) if has_records(data) else source


def chosen_feed(settings: Settings) -> LiveSource:
    """Return the providers of the settings (or the one source) behind one stream.

    The first healthy provider is used and the others stand by. Raises `InputError` for a source that has no
    stream.
    """
    sources = []
    for name in settings.data.providers or (settings.data.source,):
        source = registry.find_source(name)
        if not is_live(source):
            raise InputError(
                f"source '{name}' has bars of the past only; replay it, or name data.providers that tell of "
                "bars as they close, as ccxt:binance"
            )
        sources.append(source)
    policy = FailoverPolicy(expects=session_predicate_without(sources[0].calendar, settings.data.holidays))
    return FailoverSource(sources, policy, name=settings.data.source, clock=SystemClock())


def chosen_start(settings: Settings) -> datetime | None:
    """Return the beginning of the first day in the settings; None for all of history.

    The day is one of the source's calendar.
    """
    if not settings.data.start:
        return None
    calendar = chosen_source(settings).calendar
    return day_span(date.fromisoformat(settings.data.start), calendar)[0]


def chosen_identity(settings: Settings) -> str:
    """Return the name under which snapshots of the settings' source are kept.

    No vendor's SDK is imported, and no file of records is read.
    """
    data = settings.data
    if data.providers:
        identity = identity_of_providers([registry.source_identity(name) for name in data.providers])
    else:
        identity = registry.source_identity(data.source)
    return f"{identity}#{records_identity(data)}" if has_records(data) else identity


def newest_snapshot(settings: Settings) -> Snapshot | None:
    """Return the newest snapshot of the settings' source with its options.

    A snapshot stored before options were part of its name is used if it holds bars of this source.

    Parameters
    ----------
    settings
        Uses `locations.snapshots` and the source, its options and its providers from `data`.

    Returns
    -------
    Snapshot or None
        None where no snapshot is stored.

    Raises
    ------
    UnknownNameError
        For a source that does not exist.
    DamagedStoreError
        For a stored file that cannot be read.
    """
    store = SnapshotStore(settings.locations.snapshots)
    snapshot = store.latest(chosen_identity(settings))
    if snapshot is None and store.heads():
        return incremental.newest_of_source(store, chosen_source(settings))
    return snapshot
