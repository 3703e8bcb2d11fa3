"""Offline features in a folder and in a bucket, where the settings say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.settings.settings import Settings
from features.compute.batch import backfill
from features.feature_set import feature_set_of
from features.store.feature_store import FeatureStore
from features.store.offline_files import OfflineFiles, to_feature_table


def test_offline_features_are_written_and_joined_alike_in_both_forms(
    location: str, tmp_path: Path, real_bars: BarPanel
) -> None:
    """The common location holds them under their own name, and the join gives what was written."""
    settings = Settings(home=tmp_path / "home", storage={"location": location})
    chosen = feature_set_of(settings)
    frame = backfill(real_bars.part(0, 60), chosen)
    address = FeatureStore.from_settings(settings).write_offline(frame)
    assert address == f"{location}/feast/offline/features.parquet"
    files = OfflineFiles(settings.locations.offline_features)
    table = to_feature_table(frame)
    joined = files.join(table.select(["symbol", "timestamp"]), chosen.names)
    for name in chosen.names:
        expected, got = (one[name].to_numpy(zero_copy_only=False) for one in (table, joined))
        assert np.array_equal(expected.astype(float), got.astype(float), equal_nan=True)
