"""Windows of several feature sets, and of several universes, side by side in one online store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.errors import MissingStateError, StaleFeaturesError
from alphaloop.universe_hash import hash_universe
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from features.store import online_reader
from features.store.feature_store import FeatureStore
from features.store.online_reader import OnlineReader
from features.store.standby import Standby
from features.store.streamer import Streamer
from marketdata.storage.snapshots import SnapshotStore

PAST, ROWS = 60, 4
NEW = FeatureSet(("return_1", "rsi(5)"))
OLD = FeatureSet(("return_5", "volatility_10", "return_1"))
RANKED = FeatureSet(("rank(return_5)",))


@pytest.fixture
def past(real_bars: BarPanel) -> BarPanel:
    """The first bars."""
    return real_bars.between(end=real_bars.at(PAST - 1).timestamp)


@pytest.fixture
def clock(past: BarPanel) -> ReplayClock:
    """It stands at the last of them."""
    return ReplayClock(past.at(len(past) - 1).timestamp)


@pytest.fixture
def streamer(tmp_path: Path, past: BarPanel, clock: ReplayClock) -> Callable[..., Streamer]:
    """Makes streamers of `NEW` with what else is named."""

    def made(*further: Any, feature_set: FeatureSet = NEW) -> Streamer:
        return Streamer(tmp_path, feature_set, past.symbols, past, ROWS, clock, further=further)

    return made


def test_each_set_is_read_as_if_it_were_alone(tmp_path: Path, real_bars: BarPanel, streamer: Any) -> None:
    """Bar by bar the windows of either set are those that backfill gives, bit for bit."""
    symbols, reader = real_bars.symbols, OnlineReader(tmp_path)
    with streamer((OLD, symbols)) as one:
        for index in range(PAST, PAST + 3):
            bar = real_bars.at(index)
            one.publish(bar, f"s{index}")
            for features in (NEW, OLD):
                windows = reader.read(symbols, bar.timestamp, ROWS, features.hash)
                expected = backfill(real_bars, features).window(index, ROWS)
                np.testing.assert_array_equal(windows.panel, expected)
                assert (windows.feature_set, windows.snapshot) == (features.hash, f"s{index}")


def test_ranks_over_two_universes_lie_side_by_side(tmp_path: Path, past: BarPanel, streamer: Any) -> None:
    """The same set over fewer symbols has other ranks, and who names the universe gets its own."""
    few, last = past.symbols[:5], past.at(len(past) - 1).timestamp
    with streamer((RANKED, few), feature_set=RANKED) as one:
        one.materialize("s")
    reader = OnlineReader(tmp_path)
    for universe in (past.symbols, few):
        windows = reader.read(few, last, 1, RANKED.hash, hash_universe(universe))
        expected = backfill(past.select(universe), RANKED).window(len(past) - 1, 1)[:5]
        np.testing.assert_array_equal(windows.panel, expected)
        assert windows.universe == hash_universe(universe)


def test_who_names_nothing_gets_the_windows_of_the_settings(
    tmp_path: Path, past: BarPanel, streamer: Any
) -> None:
    """So does who names a set that is not there; what it is given says what it is made of."""
    last = past.at(len(past) - 1).timestamp
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    reader = OnlineReader(tmp_path)
    for wanted in ("", "0" * 64):
        assert reader.read(past.symbols, last, 1, wanted).feature_set == NEW.hash


def test_what_is_the_settings_own_is_not_written_twice(past: BarPanel, streamer: Any) -> None:
    """The set of the settings, or one named twice, has one view."""
    with streamer((NEW, past.symbols), (OLD, past.symbols), (OLD, past.symbols[:3])) as one:
        assert [made.feature_set for made in one.made] == [NEW.hash, OLD.hash]


def test_a_reader_that_runs_finds_what_is_added(
    tmp_path: Path, past: BarPanel, streamer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A streamer that starts again with one more set serves it to a reader that was there before."""
    monkeypatch.setattr(online_reader, "RECHECK_SECONDS", 0.0)
    last, reader, wanted = past.at(len(past) - 1).timestamp, OnlineReader(tmp_path), OLD.hash
    with streamer() as one:
        one.materialize("s")
    assert reader.read(past.symbols, last, 1, wanted).feature_set == NEW.hash
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    assert reader.read(past.symbols, last, 1, wanted).feature_set == OLD.hash


def test_a_reader_that_runs_goes_on_when_a_set_is_retired(
    tmp_path: Path, past: BarPanel, streamer: Any
) -> None:
    """A view that no version needs is dropped; who asks for it is given the windows of the settings."""
    last, reader = past.at(len(past) - 1).timestamp, OnlineReader(tmp_path)
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    assert reader.read(past.symbols, last, 1, OLD.hash).feature_set == OLD.hash
    with streamer() as one:
        one.materialize("s")
    assert reader.read(past.symbols, last, 2, OLD.hash).feature_set == NEW.hash


def test_building_features_leaves_further_windows_alone(
    tmp_path: Path, past: BarPanel, streamer: Any
) -> None:
    """What is told to Feast for training does not take from serving what a streamer writes."""
    last = past.at(len(past) - 1).timestamp
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    FeatureStore(tmp_path, NEW).apply()
    assert OnlineReader(tmp_path).read(past.symbols, last, 1, OLD.hash).feature_set == OLD.hash


def test_windows_of_another_bar_are_not_given_for_it(
    tmp_path: Path, real_bars: BarPanel, past: BarPanel, streamer: Any
) -> None:
    """Further windows that stand at an earlier bar are refused with their age, as all windows are."""
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    with pytest.raises(StaleFeaturesError, match="older"):
        OnlineReader(tmp_path).read(past.symbols, real_bars.at(PAST).timestamp, 1, OLD.hash)


def test_what_a_leaver_left_behind_hides_nothing(
    tmp_path: Path, real_bars: BarPanel, past: BarPanel, clock: ReplayClock, streamer: Any
) -> None:
    """A symbol's row of a set that was the settings' then does not stand for the rest of that set now."""
    with streamer(feature_set=OLD) as one:
        one.materialize("s")
    stay, bar = past.symbols[:-1], real_bars.at(PAST)
    with Streamer(tmp_path, NEW, stay, past, ROWS, clock, further=[(OLD, stay)]) as one:
        one.publish(bar, "s2")
    windows = OnlineReader(tmp_path).read(past.symbols, bar.timestamp, ROWS, OLD.hash)
    assert windows.feature_set == OLD.hash
    expected = backfill(real_bars, OLD).window(PAST, ROWS)
    np.testing.assert_array_equal(windows.panel[:-1], expected[:-1])
    assert np.isnan(windows.panel[-1]).all()


def test_a_set_that_these_bars_do_not_allow_is_left_out(
    past: BarPanel, streamer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The settings' own windows are written all the same, and the log says what is missing."""
    volumes = FeatureSet(("busy = volume / sma(volume, 20)",))
    with streamer((volumes, past.symbols), (RANKED, (*past.symbols, "NONE")), (OLD, past.symbols)) as one:
        one.materialize("s")
        assert [made.feature_set for made in one.made] == [NEW.hash, OLD.hash]
    assert "needs 'volume'" in caplog.text and "unknown symbol 'NONE'" in caplog.text


def test_a_standby_carries_what_is_in_use_when_it_takes_over(
    tmp_path: Path, past: BarPanel, clock: ReplayClock, streamer: Any
) -> None:
    """It asks then, not when it began to wait, and what served a champion goes on being there."""
    snapshots = SnapshotStore(tmp_path / "snapshots")
    snapshots.save(past.to_table(), "s")
    needed: list[Any] = []
    standby = Standby(
        tmp_path, NEW, past.symbols, ROWS, clock, snapshots=snapshots, source="s",
        further=lambda symbols: lambda: [(one, symbols) for one in needed],
    )  # fmt: skip
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
        assert standby.take_over(timeout=0) is None
        needed.append(OLD)
    duty = standby.take_over(timeout=5)
    assert duty is not None
    with duty:
        last = past.at(len(past) - 1).timestamp
        assert OnlineReader(tmp_path).read(past.symbols, last, 1, OLD.hash).feature_set == OLD.hash


def test_looking_for_one_set_does_not_keep_another_from_being_found(
    tmp_path: Path, past: BarPanel, streamer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each set is looked for again after a while, however often one that never comes is asked for."""
    now = [0.0]
    monkeypatch.setattr(online_reader, "monotonic", lambda: now[0])
    last, reader = past.at(len(past) - 1).timestamp, OnlineReader(tmp_path)

    def read(feature_set: str) -> str:
        return reader.read(past.symbols, last, 1, feature_set).feature_set

    with streamer() as one:
        one.materialize("s")
    assert (read("0" * 64), read(OLD.hash)) == (NEW.hash, NEW.hash)
    with streamer((OLD, past.symbols)) as one:
        one.materialize("s")
    for _ in range(3):
        now[0] += 0.4
        assert read("0" * 64) == NEW.hash
    assert read(OLD.hash) == OLD.hash


def test_that_too_few_rows_are_kept_is_not_found_out_with_each_request(
    tmp_path: Path, past: BarPanel, streamer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks back too far costs the others no read of the store but one in a while."""
    last, reader, reads = past.at(len(past) - 1).timestamp, OnlineReader(tmp_path), []
    with streamer() as one:
        one.materialize("s")
    fetch = reader._fetch
    monkeypatch.setattr(reader, "_fetch", lambda *given: reads.append(given) or fetch(*given))
    for _ in range(5):
        with pytest.raises(MissingStateError, match=f"keeps {ROWS} rows"):
            reader.read(past.symbols, last, ROWS + 1, NEW.hash)
    assert len(reads) == 1


def test_a_registry_that_cannot_be_read_is_told_and_outlived(
    tmp_path: Path,
    past: BarPanel,
    streamer: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Looking for other windows fails; what is there is given, for whoever asked to judge."""
    last, reader = past.at(len(past) - 1).timestamp, OnlineReader(tmp_path)
    with streamer() as one:
        one.materialize("s")
    reader.stored(past.symbols)

    def locked() -> None:
        raise OperationalError("select", {}, Exception("database is locked"))

    monkeypatch.setattr(reader._feast, "refresh_registry", locked)
    assert reader.read(past.symbols, last, 1, OLD.hash).feature_set == NEW.hash
    assert "cannot be looked for windows of other feature sets" in caplog.text


def test_who_asks_for_a_bar_that_is_not_there_does_not_have_feast_asked_each_time(
    tmp_path: Path, real_bars: BarPanel, past: BarPanel, streamer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there are other windows is looked for once in a while, whatever comes of it."""
    reader, asked = OnlineReader(tmp_path), []
    with streamer() as one:
        one.materialize("s")
    refresh = reader._feast.refresh_registry
    monkeypatch.setattr(reader._feast, "refresh_registry", lambda: asked.append(1) or refresh())
    for _ in range(5):
        with pytest.raises(StaleFeaturesError):
            reader.read(past.symbols, real_bars.at(PAST).timestamp, 1, NEW.hash)
    assert len(asked) == 1
