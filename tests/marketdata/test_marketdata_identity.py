"""Snapshots are of a source with its options: bars of two of them are never joined."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.settings.data import DataSettings
from alphaloop.settings.settings import Settings
from marketdata.configured_source import chosen_identity, chosen_source, newest_snapshot
from marketdata.feeds.failover import FailoverSource
from marketdata.feeds.replay_source import ReplaySource
from marketdata.files.file_source import FileSource
from marketdata.source import identity_of
from marketdata.sources import registry
from marketdata.sources.alpaca import AlpacaSource
from marketdata.sources.simulated import SimulatedSource
from marketdata.storage.incremental import newest_of_source, update_snapshot
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


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("timezone=Europe/London", "timezone=America/New_York"),
        ("timezone=UTC&calendar=XLON", "timezone=UTC"),
        ("timezone=UTC&adjusted_only=true", "timezone=UTC"),
        ("timezone=UTC&extra=bid_size", "timezone=UTC"),
        ("timezone=UTC&timestamp=sent", "timezone=UTC&timestamp=time"),
        ("timezone=UTC&frequency=1h", "timezone=UTC"),
        ("endpoint=http://one:9000", "endpoint=http://two:9000"),
    ],
)
def test_a_corrected_option_begins_anew(tmp_path: Path, wrong: str, right: str) -> None:
    """Every option that changes bars is part of the identity."""
    one, other = (
        identity_of(registry.find_source(f"folder:{tmp_path}?{options}")) for options in (wrong, right)
    )
    assert one != other


def test_an_identity_does_not_depend_on_how_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order, defaults, a trailing slash and a relative path name the same source; it can be found by it."""
    monkeypatch.chdir(tmp_path)
    written = [
        f"{tmp_path}/bars?timezone=UTC&close=bid",
        f"{tmp_path}/bars/?close=bid&timezone=UTC&frequency=1d&calendar=XNYS&adjusted_only=FALSE",
        "bars?close=bid&timezone=UTC",
        "./bars?close=bid&timezone=UTC",
    ]
    [identity] = {identity_of(registry.find_source(f"folder:{name}")) for name in written}
    assert identity == f"folder:{tmp_path}/bars?close=bid&timezone=UTC"
    assert identity_of(registry.find_source(identity)) == identity
    assert identity_of(registry.find_source(f"folder:{tmp_path}/bars")) == f"folder:{tmp_path}/bars"


def test_sources_of_venues_tell_what_changes_their_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alpaca's feed, the seed of a simulation and the order of providers are part of the identity."""
    monkeypatch.delenv("APCA_DATA_FEED", raising=False)
    assert (identity_of(AlpacaSource()), identity_of(AlpacaSource(feed="sip"))) == (
        "alpaca",
        "alpaca?feed=sip",
    )
    monkeypatch.setenv("APCA_DATA_FEED", "sip")
    assert registry.source_identity("alpaca") == "alpaca?feed=sip"
    assert identity_of(SimulatedSource()) == "simulated"
    assert identity_of(SimulatedSource(seed=8)) == "simulated?seed=8&strength=0.14"
    first, second = AlpacaSource(feed="iex"), registry.find_source("ibkr")
    pairs = [FailoverSource(both, name="sp500-20") for both in ((first, second), (second, first))]
    assert [identity_of(pair) for pair in pairs] == ["providers:alpaca,ibkr", "providers:ibkr,alpaca"]
    assert registry.source_identity("ccxt:binance") == identity_of(registry.find_source("ccxt:binance"))
    assert identity_of(FileSource(Path("/a.csv"), timezone="UTC")) == "file:/a.csv?timezone=UTC"


def test_a_replay_is_of_the_source_that_it_replays(tmp_path: Path) -> None:
    """What is stored from a replay is kept with that source's options."""
    bid = registry.find_source(f"folder:{quotes(tmp_path / 'bars')}?close=bid")
    replay = ReplaySource.of_source(bid, ("KO",), ReplayClock(datetime(2019, 1, 2, tzinfo=UTC)))
    assert identity_of(replay) == identity_of(bid)


def test_the_settings_name_their_source_as_its_snapshots_are_kept() -> None:
    """Providers are not kept under the name of `data.source`, and no kit is loaded to tell."""
    plain = Settings(data=DataSettings(source="ccxt:binance"))
    fed = Settings(data=DataSettings(source="sp500-20", providers=("ccxt:kraken", "ccxt:binance")))
    assert chosen_identity(plain) == "ccxt:binance"
    assert chosen_identity(fed) == identity_of(chosen_source(fed)) == "providers:ccxt:kraken,ccxt:binance"


def test_the_newest_snapshot_is_that_of_the_settings_source(tmp_path: Path) -> None:
    """What another source stored later in the same workspace is not gone on from."""
    home = quotes(tmp_path / "bars")
    source = f"folder:{home}?close=bid"
    settings = Settings(home=tmp_path / "home", data=DataSettings(source=source))
    store = SnapshotStore(settings.paths.snapshots)
    assert newest_snapshot(settings) is None
    kept = update_snapshot(store, registry.find_source(source))
    update_snapshot(store, registry.find_source(f"folder:{home}?close=ask"))
    assert newest_snapshot(settings) == kept


def test_a_snapshot_of_before_is_gone_on_from_where_its_bars_are_the_sources(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stored under the name alone, it is taken over by the options that gave it, and by no others."""
    home, store = quotes(tmp_path / "bars", DAYS[:2]), SnapshotStore(tmp_path / "store")
    bid, ask = (registry.find_source(f"folder:{home}?close={side}") for side in ("bid", "ask"))
    kept = store.save(bid.history(()), bid.name)
    with caplog.at_level(logging.WARNING):
        assert newest_of_source(store, ask) is None
    assert f"'folder:{home}?close=ask'" in caplog.text
    assert newest_of_source(store, bid) == kept
    quotes(home)
    later = update_snapshot(store, bid)
    assert (later.parent, later.source, closes(store, later.id)) == (kept.id, identity_of(bid), [10, 11, 12])
    assert newest_of_source(store, bid) == later
    # The id vouches for the same bars as before.
    assert store.describe(kept.id).source == bid.name


def test_what_is_stored_by_hand_after_a_take_over_is_of_the_new_identity(tmp_path: Path) -> None:
    """A delta that names its parent alone goes where the parent was taken over to."""
    home, store = quotes(tmp_path / "bars", DAYS[:1]), SnapshotStore(tmp_path / "store")
    bid = registry.find_source(f"folder:{home}?close=bid")
    kept = store.save(bid.history(()), bid.name)
    assert newest_of_source(store, bid) == kept
    quotes(home)
    new = bid.history((), datetime(2019, 1, 3, tzinfo=UTC))
    assert store.append(kept.id, new) == newest_of_source(store, bid)


def test_a_long_identity_is_kept_whole(tmp_path: Path) -> None:
    """Names that no file may have are told in the file: two that begin alike are two sources."""
    home, store = quotes(tmp_path / "bars"), SnapshotStore(tmp_path / "store")
    columns = ",".join(f"a_column_of_this_long_name_{place}" for place in range(20))
    names = [f"{identity_of(registry.find_source(f'folder:{home}'))}?extra={columns},{end}" for end in "ab"]
    table = registry.find_source(f"folder:{home}?close=bid").history(())
    kept = [store.save(table.slice(place), name) for place, name in enumerate(names)]
    assert [store.latest(name) for name in names] == kept
    assert store.heads() == {one.id for one in kept}
