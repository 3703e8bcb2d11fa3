"""Updates of a source whose options changed: they begin anew, and join nothing to what was stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketdata.sources import registry
from marketdata.storage.incremental import update_snapshot
from marketdata.storage.snapshots import SnapshotStore

DAYS = ("2019-01-02", "2019-01-03", "2019-01-04")


def quotes(home: Path, days: tuple[str, ...] = DAYS) -> Path:
    """A folder of bids and asks, an ask being twice its bid."""
    home.mkdir(exist_ok=True)
    lines = [f"{day},{10 + place},{20 + 2 * place}" for place, day in enumerate(days)]
    (home / "KO.csv").write_text("date,bid,ask\n" + "\n".join(lines) + "\n")
    return home


def closes(store: SnapshotStore, snapshot_id: str) -> list[float]:
    """The closes of a snapshot."""
    found: list[float] = store.load(snapshot_id)["close"].to_pylist()
    return found


def test_asks_are_not_appended_to_bids(tmp_path: Path) -> None:
    """Another column for the close is another source: it has a base of its own, and the first goes on."""
    home, store = quotes(tmp_path / "bars", DAYS[:2]), SnapshotStore(tmp_path / "store")
    bid, ask = (registry.find_source(f"folder:{home}?close={side}") for side in ("bid", "ask"))
    first = update_snapshot(store, bid)
    quotes(home)
    other, later = update_snapshot(store, ask), update_snapshot(store, bid)
    assert (other.parent, closes(store, other.id)) == (None, [20, 22, 24])
    assert (later.parent, closes(store, later.id)) == (first.id, [10, 11, 12])


def test_times_of_a_corrected_zone_are_not_appended_to_those_of_the_wrong_one(tmp_path: Path) -> None:
    """The same files under another time zone are a base of their own, with every bar at its right time."""
    home, store = tmp_path / "bars", SnapshotStore(tmp_path / "store")
    home.mkdir()
    lines = ["timestamp,close", *(f"{day}T16:00:00,1" for day in DAYS)]
    (home / "KO.csv").write_text("\n".join(lines[:-1]) + "\n")
    update_snapshot(store, registry.find_source(f"folder:{home}?timezone=Europe/London"))
    (home / "KO.csv").write_text("\n".join(lines) + "\n")
    right = update_snapshot(store, registry.find_source(f"folder:{home}?timezone=America/New_York"))
    times = [one.isoformat() for one in store.load(right.id)["timestamp"].to_pylist()]
    assert times == [f"{day}T21:00:00+00:00" for day in DAYS]


def test_one_relative_name_in_two_places_is_two_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`folder:bars` of another working folder is not joined to the first one's snapshots."""
    store = SnapshotStore(tmp_path / "store")
    for name, days in (("one", DAYS[:2]), ("two", DAYS)):
        (tmp_path / name).mkdir()
        quotes(tmp_path / name / "bars", days)
        monkeypatch.chdir(tmp_path / name)
        assert update_snapshot(store, registry.find_source("folder:bars?close=ask")).parent is None
