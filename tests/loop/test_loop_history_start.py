"""How far back the bars of a workspace go: as far as the source has them, or to the day of the settings."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alphaloop.settings.data import DataSettings
from alphaloop.settings.settings import Settings
from loop import workspace
from marketdata.storage.snapshots import SnapshotStore

HEAD = "symbol,date,close\n"


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A folder of two symbols, of which PEP begins two years after KO."""
    home = tmp_path / "bars"
    home.mkdir()
    rows = ["KO,2015-01-02,1", "KO,2016-01-04,2", "KO,2017-01-03,3", "PEP,2017-01-03,4"]
    (home / "all.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return home


def settings_of(bars: Path, **data: Any) -> Settings:
    """Settings of a workspace on the folder; gaps between its few days are of no interest."""
    quality = {"gap": "report"}
    chosen = DataSettings(source=f"folder:{bars}", quality=quality, **data)
    return Settings(home=bars.parent / "home", data=chosen)


def first_day(settings: Settings) -> str:
    """The first day of the bars that are stored."""
    snapshot = workspace.take_snapshot(settings)
    table = SnapshotStore(settings.paths.snapshots).load(snapshot.id)
    return str(table["timestamp"][0].as_py().date())


def test_history_begins_where_the_settings_say(bars: Path) -> None:
    """Without a day all bars are stored; with one, those from its beginning on, in a backtest as well."""
    assert first_day(settings_of(bars)) == "2015-01-02"
    assert first_day(settings_of(bars, start="2016-01-04")) == "2016-01-04"
    later = workspace.source_bars(settings_of(bars, start="2016-01-05"))
    assert (len(later), later.symbols) == (1, ("KO", "PEP"))


def test_symbols_that_begin_later_are_named(bars: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the source does not reach back to the day, it is said of whom, and from when on there is any."""
    with caplog.at_level(logging.WARNING):
        workspace.take_snapshot(settings_of(bars))
        workspace.take_snapshot(settings_of(bars, start="2016-12-27"))
        assert not caplog.text
        workspace.take_snapshot(settings_of(bars, start="2014-12-29"))
    assert f"source 'folder:{bars}' does not reach back to 2014-12-29" in caplog.text
    assert caplog.text.rstrip().endswith("it begins with: PEP 2017-01-03")


def test_the_first_moment_of_the_day_counts(tmp_path: Path) -> None:
    """A bar that closes within the first day is kept, and one of the evening before is not."""
    home = tmp_path / "bars"
    home.mkdir()
    times = ("2020-01-01T23:00:00Z", "2020-01-02T00:30:00Z", "2020-01-02T01:00:00Z")
    (home / "BTC.csv").write_text("timestamp,close\n" + "".join(f"{time},1\n" for time in times))
    source = f"folder:{home}?calendar=24/7&frequency=30m"
    settings = Settings(
        home=tmp_path / "home",
        data=DataSettings(source=source, start="2020-01-02", quality={"gap": "report"}),
    )
    snapshot = workspace.take_snapshot(settings)
    assert (snapshot.rows, snapshot.first) == (2, datetime(2020, 1, 2, 0, 30, tzinfo=UTC))


def test_the_first_day_is_one_of_the_market(tmp_path: Path) -> None:
    """In foreign exchange a Monday begins on Sunday at 17:00 in New York."""
    home = tmp_path / "bars"
    home.mkdir()
    times = ("2020-01-03T21:30:00Z", "2020-01-05T22:30:00Z", "2020-01-06T00:30:00Z")
    (home / "EURUSD.csv").write_text("timestamp,close\n" + "".join(f"{time},1.1\n" for time in times))
    source = f"folder:{home}?calendar=24/5&frequency=30m"
    data = DataSettings(source=source, start="2020-01-06", quality={"gap": "report"})
    snapshot = workspace.take_snapshot(Settings(home=tmp_path / "home", data=data))
    assert (snapshot.rows, snapshot.first) == (2, datetime(2020, 1, 5, 22, 30, tzinfo=UTC))
