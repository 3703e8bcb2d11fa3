"""Further windows come and go with the rollouts, while the streamer that writes them runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, LeaseLostError, VendorError
from alphaloop.market import BarPanel
from features import online_reader
from features.build import backfill
from features.duty import Duty
from features.lease import Lease
from features.online_reader import OnlineReader
from features.sets import FeatureSet
from features.storage.snapshots import SnapshotStore
from features.streamer import Streamer

PAST, ROWS = 60, 4
MAIN, OTHER, THIRD = FeatureSet(("return_1",)), FeatureSet(("return_5", "rsi(5)")), FeatureSet(("sma(3)",))
# Where it stands depends on every bar before.
RECURSIVE = FeatureSet(("ema(20)",))


@pytest.fixture
def past(real_bars: BarPanel) -> BarPanel:
    """The first bars."""
    return real_bars.between(end=real_bars.at(PAST - 1).timestamp)


@pytest.fixture
def online(request: pytest.FixtureRequest, redis_server: Any, tmp_path: Path) -> Iterator[str]:
    """The online store: SQLite, and Redis where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield "sqlite"
        return
    with redis_server(tmp_path) as server:
        yield server.address


@pytest.fixture
def streamer(tmp_path: Path, past: BarPanel, online: str) -> Iterator[Streamer]:
    """It has written the settings' windows."""
    clock = ReplayClock(past.at(len(past) - 1).timestamp)
    with Streamer(tmp_path, MAIN, past.symbols, past, ROWS, clock, online=online) as made:
        made.materialize("s")
        yield made


@pytest.fixture
def reader(tmp_path: Path, online: str, monkeypatch: pytest.MonkeyPatch) -> OnlineReader:
    """One that was there before, and has not found anything but the settings' windows."""
    monkeypatch.setattr(online_reader, "LOOK_SECONDS", 0.0)
    return OnlineReader(tmp_path, online)


@pytest.fixture
def duty(tmp_path: Path, past: BarPanel, streamer: Streamer) -> Duty:
    """It stores in snapshots what the streamer publishes."""
    snapshots = SnapshotStore(tmp_path / "snapshots")
    return Duty(streamer, snapshots, snapshots.save(past.to_table(), "s").id)


def never() -> NoReturn:
    pytest.fail("nothing is new, and history was read")


def carried(streamer: Streamer) -> list[str]:
    """The sets that it carries besides the settings'."""
    return [made.feature_set for made in streamer.made[1:]]


@pytest.mark.parametrize("online", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("features", [OTHER, RECURSIVE])
def test_a_set_that_is_taken_up_is_as_if_it_had_always_been_there(
    real_bars: BarPanel, duty: Duty, reader: OnlineReader, features: FeatureSet
) -> None:
    """After some bars without it: bit for bit what backfill gives, for a reader that runs."""
    symbols, needed = real_bars.symbols, list[Any]()
    duty.further = lambda: needed
    for index in range(PAST, PAST + 6):
        bar = real_bars.at(index)
        if index == PAST + 2:
            needed.append((features, symbols))
        duty.on_bar(bar)
        windows = reader.read(symbols, bar.timestamp, ROWS, features.hash)
        if index < PAST + 2:
            assert windows.feature_set == MAIN.hash
            continue
        assert (windows.feature_set, windows.snapshot) == (features.hash, duty.snapshot)
        expected = backfill(real_bars.between(end=bar.timestamp), features).window(index, ROWS)
        np.testing.assert_array_equal(windows.panel, expected)
        own = reader.read(symbols, bar.timestamp, ROWS, MAIN.hash)
        np.testing.assert_array_equal(own.panel, backfill(real_bars, MAIN).window(index, ROWS))


def test_what_nobody_needs_is_carried_for_one_bar_more(
    tmp_path: Path, past: BarPanel, real_bars: BarPanel, streamer: Streamer, reader: OnlineReader
) -> None:
    """A server that is a moment behind a rollout's end still finds them; then they are dropped."""
    symbols = past.symbols
    streamer.carry_also([(OTHER, symbols)], lambda: past)
    streamer.publish(real_bars.at(PAST), "s1")
    streamer.carry_also([], never)
    assert carried(streamer) == [OTHER.hash]
    bar = real_bars.at(PAST + 1)
    streamer.publish(bar, "s2")
    assert reader.read(symbols, bar.timestamp, ROWS, OTHER.hash).feature_set == OTHER.hash
    streamer.carry_also([], never)
    assert carried(streamer) == []
    bar = real_bars.at(PAST + 2)
    streamer.publish(bar, "s3")
    assert reader.read(symbols, bar.timestamp, ROWS, OTHER.hash).feature_set == MAIN.hash


def test_one_that_is_needed_again_goes_on(past: BarPanel, streamer: Streamer, real_bars: BarPanel) -> None:
    """Within that bar nothing is read anew, and another that comes meanwhile takes nothing from it."""
    symbols = past.symbols
    streamer.carry_also([(OTHER, symbols)], lambda: past)
    streamer.publish(real_bars.at(PAST), "s1")
    streamer.carry_also([], never)
    streamer.carry_also([(OTHER, symbols), (MAIN, symbols)], never)
    assert carried(streamer) == [OTHER.hash]
    so_far = real_bars.between(end=real_bars.at(PAST).timestamp)
    streamer.carry_also([(OTHER, symbols), (THIRD, symbols)], lambda: so_far)
    assert carried(streamer) == [OTHER.hash, THIRD.hash]


def test_history_that_ends_elsewhere_is_refused(
    past: BarPanel, streamer: Streamer, real_bars: BarPanel
) -> None:
    """Features after a gap would be wrong without a word; what was carried still is."""
    streamer.publish(real_bars.at(PAST), "s1")
    with pytest.raises(DataError, match="history for further windows ends with"):
        streamer.carry_also([(OTHER, past.symbols)], lambda: past)
    assert carried(streamer) == []


def test_what_the_bars_do_not_allow_is_asked_once(
    past: BarPanel, streamer: Streamer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it; no further bar reads history for it."""
    unknown = [(OTHER, (*past.symbols, "NONE"))]
    streamer.carry_also(unknown, lambda: past)
    streamer.carry_also(unknown, never)
    assert (carried(streamer), caplog.text.count("unknown symbol 'NONE'")) == ([], 1)


def test_a_registry_that_is_away_keeps_no_bar_from_being_written(
    real_bars: BarPanel, duty: Duty, reader: OnlineReader, caplog: pytest.LogCaptureFixture
) -> None:
    """What was carried is carried on, and the log says why nothing else is."""
    symbols = real_bars.symbols
    duty.further = lambda: [(OTHER, symbols)]
    duty.on_bar(real_bars.at(PAST))

    def away() -> NoReturn:
        raise VendorError("the registry's database is locked")

    duty.further = away
    bar = real_bars.at(PAST + 1)
    duty.on_bar(bar)
    for features in (MAIN, OTHER):
        assert reader.read(symbols, bar.timestamp, ROWS, features.hash).feature_set == features.hash
    assert "the registry's database is locked" in caplog.text


def test_who_lost_the_lease_takes_nothing_up(
    past: BarPanel, duty: Duty, monkeypatch: pytest.MonkeyPatch, real_bars: BarPanel
) -> None:
    """It says so, and neither stores nor defines anything."""
    snapshot = duty.snapshot
    duty.further = lambda: [(OTHER, past.symbols)]
    monkeypatch.setattr(Lease, "lost", property(lambda _: True))
    with pytest.raises(LeaseLostError):
        duty.on_bar(real_bars.at(PAST))
    assert (duty.snapshot, carried(duty.streamer)) == (snapshot, [])
