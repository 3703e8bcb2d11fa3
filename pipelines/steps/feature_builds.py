"""Steps on features: fill the offline store from a snapshot, and the online store for serving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.run_parameter import settings_of_run
from pipelines.steps.step_results import once

if TYPE_CHECKING:
    from alphaloop.bars import BarPanel
    from alphaloop.settings.settings import Settings
    from features.compute.batch import FeatureFrame


def build_features(settings: str, snapshot: str, run: str) -> str:
    """Compute the features of every bar of `snapshot` and replace the offline ones; returns their address."""
    chosen = settings_of_run(settings)
    return once(chosen, run, "build_features", lambda: _build(chosen, snapshot))


def publish_features(settings: str, snapshot: str, run: str) -> str:
    """Write the windows of the last bar of `snapshot` to the online store; returns that bar's time.

    Windows are written for the settings' feature set and for each set of a version in a rollout.
    """
    chosen = settings_of_run(settings)
    return once(chosen, run, "publish_features", lambda: _publish(chosen, snapshot))


def frame_of(settings: Settings, snapshot: str) -> tuple[BarPanel, FeatureFrame]:
    """Load the bars of a snapshot and compute their features, float32 `[bars, symbols, features]`."""
    from alphaloop.bars import BarPanel
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from marketdata.storage.snapshots import SnapshotStore

    bars = BarPanel.from_table(SnapshotStore(settings.locations.snapshots).load(snapshot))
    return bars, backfill(bars, feature_set_of(settings))


def _build(settings: Settings, snapshot: str) -> str:
    from features.store.feature_store import FeatureStore

    _, frame = frame_of(settings, snapshot)
    store = FeatureStore.from_settings(settings)
    store.apply()
    return store.write_offline(frame)


def _publish(settings: Settings, snapshot: str) -> str:
    from alphaloop.bars import BarPanel, to_datetime
    from alphaloop.clock import SystemClock
    from features.feature_set import feature_set_of
    from features.store.streamer import Streamer
    from marketdata.storage.snapshots import SnapshotStore
    from models.registry.configured_registry import configured_registry
    from models.registry.feature_sets_in_use import FeatureSetsInUse

    bars = BarPanel.from_table(SnapshotStore(settings.locations.snapshots).load(snapshot))
    needed = FeatureSetsInUse(configured_registry(settings), feature_set_of(settings), bars.symbols)()
    with Streamer.from_settings(settings, bars.symbols, bars, SystemClock(), further=needed) as streamer:
        streamer.materialize(snapshot)
    return to_datetime(bars.timestamps[-1]).isoformat()
