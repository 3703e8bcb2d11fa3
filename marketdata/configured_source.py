"""The source that the settings choose, and the newest snapshot of it.

What a workspace goes on from is always asked for here, since one workspace may hold snapshots of several
sources, or of one source with several options.
"""

from __future__ import annotations

from datetime import date, datetime

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError
from alphaloop.settings.settings import Settings
from marketdata.calendars import day_span
from marketdata.feeds.failover import FailoverSource, identity_of_providers
from marketdata.feeds.failover_policy import FailoverPolicy
from marketdata.quality.rules.holidays import any_session_but
from marketdata.source import LiveSource, Source, is_live
from marketdata.sources import registry
from marketdata.storage import incremental
from marketdata.storage.snapshots import Snapshot, SnapshotStore


def chosen_source(settings: Settings) -> Source:
    """The source that the settings name, or their providers as one; `UnknownNameError` for another."""
    return chosen_feed(settings) if settings.data.providers else registry.find(settings.data.source)


def chosen_feed(settings: Settings) -> LiveSource:
    """The providers of the settings (or the one source) behind one stream.

    The first that is well is believed, the others stand by. Raises `InputError` for a source that has no
    stream.
    """
    found = []
    for name in settings.data.providers or (settings.data.source,):
        source = registry.find(name)
        if not is_live(source):
            raise InputError(
                f"source '{name}' has bars of the past only; replay it, or name data.providers that tell of "
                "bars as they close, as ccxt:binance"
            )
        found.append(source)
    policy = FailoverPolicy(expects=any_session_but(found[0].calendar, settings.data.holidays))
    return FailoverSource(found, policy, name=settings.data.source, clock=SystemClock())


def chosen_start(settings: Settings) -> datetime | None:
    """The beginning of the first day, by the source's calendar, that the settings ask for; None for all."""
    if not settings.data.start:
        return None
    calendar = chosen_source(settings).calendar
    return day_span(date.fromisoformat(settings.data.start), calendar)[0]


def chosen_identity(settings: Settings) -> str:
    """The name under which snapshots of the settings' source are kept; no venue's kit is imported."""
    if settings.data.providers:
        return identity_of_providers([registry.identity(name) for name in settings.data.providers])
    return registry.identity(settings.data.source)


def newest_snapshot(settings: Settings) -> Snapshot | None:
    """The newest snapshot of the settings' source with its options; None where there is none.

    One that was stored before options were part of its name is taken where it holds the source's bars.
    """
    store = SnapshotStore(settings.paths.snapshots)
    found = store.latest(chosen_identity(settings))
    if found is None and store.heads():
        return incremental.newest(store, chosen_source(settings))
    return found
