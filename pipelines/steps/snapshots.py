"""Steps on snapshots: freeze the newest one for a run, or read what the source has since."""

from __future__ import annotations

from alphaloop.errors import MissingStateError
from alphaloop.settings.settings import Settings
from pipelines.run_parameter import settings_of_run
from pipelines.steps.step_results import once


def freeze_snapshot(settings: str, run: str = "") -> str:
    """Return the id of the newest snapshot of the settings' source, used by every later step of the run.

    Raises `MissingStateError` where there is no snapshot.
    """
    chosen = settings_of_run(settings)
    return once(chosen, run, "freeze_snapshot", lambda: _newest(chosen))


def update_bars(settings: str, run: str) -> str:
    """Store the bars that the source has and the newest snapshot lacks; returns the snapshot's id.

    Raises `DataError` for bars that the quality rules reject.
    """
    chosen = settings_of_run(settings)
    return once(chosen, run, "update_bars", lambda: _updated(chosen))


def _newest(settings: Settings) -> str:
    from marketdata.configured_source import newest_snapshot

    latest = newest_snapshot(settings)
    if latest is None:
        raise MissingStateError(
            f"no snapshot of '{settings.data.source}' in {settings.locations.snapshots}; "
            "`alphaloop features build` makes one"
        )
    return latest.id


def _updated(settings: Settings) -> str:
    from marketdata.configured_quality import quality_policies
    from marketdata.configured_source import chosen_source, chosen_start
    from marketdata.source import require_symbols
    from marketdata.storage.incremental import update_snapshot
    from marketdata.storage.snapshots import SnapshotStore

    source = chosen_source(settings)
    return update_snapshot(
        SnapshotStore(settings.locations.snapshots),
        source,
        require_symbols(source, settings.data.symbols),
        *quality_policies(settings),
        start=chosen_start(settings),
    ).id
