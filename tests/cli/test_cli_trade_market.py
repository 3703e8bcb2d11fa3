"""What `alphaloop trade` goes on from: the bars that were learned from, whatever their source says by now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import InputError
from alphaloop.settings import settings
from alphaloop.settings.settings import Settings
from cli.commands import trade
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from loop import workspace
from marketdata.storage.snapshots import SnapshotStore

HEAD = "symbol,date,close,adjustment"
# KO falls by half on the 7th, for a split; PEP goes on.
BEFORE = ["KO,2020-01-02,50,1", "PEP,2020-01-02,10,1", "KO,2020-01-03,52,1", "PEP,2020-01-03,11,1"]
BETWEEN = ["KO,2020-01-06,54,1", "PEP,2020-01-06,12,1"]
AFTER = ["KO,2020-01-07,28,1", "PEP,2020-01-07,13,1", "KO,2020-01-08,29,1", "PEP,2020-01-08,14,1"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a folder that is the workspace's source."""
    made = tmp_path / "bars" / "bars.csv"
    made.parent.mkdir()
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", f"folder:{made.parent}")
    return made


def write(file: Path, *lines: str) -> Settings:
    """What the source says from now on; the settings."""
    file.write_text("\n".join([HEAD, *lines]) + "\n")
    return settings.load_settings()


def split(line: str) -> str:
    """The same bar once a split has halved what was before."""
    return line[:-1] + "0.5" if line.startswith("KO") else line


def test_a_past_that_was_restated_is_gone_on_from_as_it_was_stored(file: Path) -> None:
    """A split halves the source's past: trading begins with the stored bars, and no return jumps."""
    chosen = write(file, *BEFORE)
    known = workspace.take_snapshot(chosen)
    write(file, *map(split, BEFORE + BETWEEN), *AFTER)
    market = trade._market(chosen, "2020-01-07:2020-01-08")
    stored = BarPanel.from_table(SnapshotStore(chosen.paths.snapshots).load(market.snapshot.id))
    assert market.snapshot.parent == known.id
    np.testing.assert_array_equal(stored.adjusted_close, market.past.adjusted_close)
    returns = backfill(market.past.then(market.future), FeatureSet(("return_1",))).values[:, 0, 0]
    np.testing.assert_allclose(returns[1:], [52 / 50 - 1, 54 / 52 - 1, 28 / 27 - 1, 29 / 28 - 1], rtol=1e-5)


def test_what_was_missed_is_stored_before_trading_begins(file: Path) -> None:
    """Bars between the workspace's last and the first to trade are history by then."""
    chosen = write(file, *BEFORE)
    workspace.take_snapshot(chosen)
    write(file, *BEFORE, *BETWEEN, *AFTER)
    market = trade._market(chosen, "2020-01-08:2020-01-08")
    assert (len(market.past), len(market.future), market.snapshot.rows) == (4, 1, 8)
    all_of_it = trade._market(chosen, "")
    assert (len(all_of_it.past), len(all_of_it.future)) == (4, 1)


def test_days_without_a_new_bar_are_one_line(file: Path) -> None:
    """A source that has nothing new, and days on which it has none."""
    chosen = write(file, *BEFORE)
    workspace.take_snapshot(chosen)
    for replay in ("", "2020-01-04:2020-01-05"):
        with pytest.raises(InputError, match="no bar is new"):
            trade._market(chosen, replay)


def test_a_bar_that_came_late_is_stored_before_trading_begins(file: Path) -> None:
    """PEP's bar of the 3rd came after the snapshot: past and snapshot both hold it, and no bar is skipped."""
    chosen = write(file, *BEFORE[:3])
    known = workspace.take_snapshot(chosen)
    write(file, *BEFORE, *BETWEEN, *AFTER)
    market = trade._market(chosen, "2020-01-07:2020-01-08")
    stored = BarPanel.from_table(SnapshotStore(chosen.paths.snapshots).load(market.snapshot.id))
    assert market.snapshot.parent == known.id
    assert stored.close[:, 1].tolist() == market.past.close[:, 1].tolist() == [10, 11, 12]
    assert len(market.future) == 2
