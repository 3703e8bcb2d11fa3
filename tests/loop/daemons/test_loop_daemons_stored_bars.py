"""The bars that control reads: each once, however many there were before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import MissingStateError
from alphaloop.settings.settings import Settings
from loop.daemons.stored_bars import StoredBars
from marketdata.configured_source import chosen_identity
from marketdata.storage.snapshots import SnapshotStore


def test_of_a_later_snapshot_only_the_new_bars_are_read(
    real_bars: BarPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole history is loaded once; each later bar is that of the market, and costs its own file."""
    settings = Settings(home=tmp_path)
    store = SnapshotStore(settings.locations.snapshots)
    newest = store.save(real_bars.part(0, 100).to_table(), chosen_identity(settings)).id
    loaded: list[str] = []
    load = SnapshotStore.load

    def counted(self: SnapshotStore, snapshot: str) -> Any:
        loaded.append(snapshot)
        return load(self, snapshot)

    monkeypatch.setattr(SnapshotStore, "load", counted)
    bars = StoredBars(settings)
    assert len(bars.upto(to_datetime(real_bars.timestamps[99]))) == 100
    for index in range(100, 105):
        newest = store.append(newest, real_bars.part(index, index + 1).to_table()).id
        as_of = to_datetime(real_bars.timestamps[index])
        np.testing.assert_array_equal(bars.at(as_of).close, real_bars.at(index).close)
    assert len(bars.upto(to_datetime(real_bars.timestamps[102]))) == 103
    assert len(loaded) == 1


def test_a_bar_that_is_not_stored_is_named(real_bars: BarPanel, tmp_path: Path) -> None:
    """Where a decided bar is nowhere, the error says which, and where it was looked for."""
    settings = Settings(home=tmp_path)
    store = SnapshotStore(settings.locations.snapshots)
    store.save(real_bars.part(0, 10).to_table(), chosen_identity(settings))
    late = to_datetime(real_bars.timestamps[9]) + timedelta(days=1)
    with pytest.raises(
        MissingStateError, match=f"{late:%Y-%m-%dT%H:%M}.* was decided, and is not stored in .*data"
    ):
        StoredBars(settings).at(late)
