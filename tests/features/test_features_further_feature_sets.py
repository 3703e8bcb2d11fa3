"""Further windows come and go with the rollouts, while the streamer that writes them runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, LeaseLostError, VendorError
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from features.store import online_reader
from features.store.feast.connection import REGISTRY_FILE, open_feast
from features.store.feature_store import FeatureStore
from features.store.live_writer import LiveFeatureWriter
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer
from features.store.writer_lease import FileLease
from features.user_indicators import load_user_indicators
from marketdata.storage.snapshots import SnapshotStore

PAST, ROWS = 60, 4
MAIN, OTHER, THIRD = FeatureSet(("return_1",)), FeatureSet(("return_5", "rsi(5)")), FeatureSet(("sma(3)",))
# Where it stands depends on every bar before.
RECURSIVE = FeatureSet(("ema(20)",))


OWN = """
from features.engine.indicator import indicator
from features.engine.operators.window import Window

@indicator(inputs=("close",), group="own")
def picky(length: int = 2):
    \"\"\"Fails on one day, or on all.\"\"\"
    def last(values):
        if {all} or (values[..., -1] == {limit}).any():
            raise ValueError("not on such a day")
        return values[..., -1]
    return Window(last, length, exact=True)
"""


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
    monkeypatch.setattr(online_reader, "RECHECK_SECONDS", 0.0)
    return OnlineReader(tmp_path, online)


@pytest.fixture
def duty(tmp_path: Path, past: BarPanel, streamer: Streamer) -> LiveFeatureWriter:
    """It stores in snapshots what the streamer publishes."""
    snapshots = SnapshotStore(tmp_path / "snapshots")
    return LiveFeatureWriter(streamer, snapshots, snapshots.save(past.to_table(), "s").id)


def never() -> NoReturn:
    pytest.fail("nothing is new, and history was read")


def carried(streamer: Streamer) -> list[str]:
    """The sets that it carries besides the settings'."""
    return [made.feature_set for made in streamer.made[1:]]


@pytest.mark.parametrize("online", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("features", [OTHER, RECURSIVE])
def test_a_set_that_is_taken_up_is_as_if_it_had_always_been_there(
    real_bars: BarPanel, duty: LiveFeatureWriter, reader: OnlineReader, features: FeatureSet
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
    streamer.set_further([(OTHER, symbols)], lambda: past)
    streamer.publish(real_bars.at(PAST), "s1")
    streamer.set_further([], never)
    assert carried(streamer) == [OTHER.hash]
    bar = real_bars.at(PAST + 1)
    streamer.publish(bar, "s2")
    assert reader.read(symbols, bar.timestamp, ROWS, OTHER.hash).feature_set == OTHER.hash
    streamer.set_further([], never)
    assert carried(streamer) == []
    bar = real_bars.at(PAST + 2)
    streamer.publish(bar, "s3")
    assert reader.read(symbols, bar.timestamp, ROWS, OTHER.hash).feature_set == MAIN.hash


def test_one_that_is_needed_again_goes_on(past: BarPanel, streamer: Streamer, real_bars: BarPanel) -> None:
    """Within that bar nothing is read anew, and another that comes meanwhile takes nothing from it."""
    symbols = past.symbols
    streamer.set_further([(OTHER, symbols)], lambda: past)
    streamer.publish(real_bars.at(PAST), "s1")
    streamer.set_further([], never)
    streamer.set_further([(OTHER, symbols), (MAIN, symbols)], never)
    assert carried(streamer) == [OTHER.hash]
    so_far = real_bars.between(end=real_bars.at(PAST).timestamp)
    streamer.set_further([(OTHER, symbols), (THIRD, symbols)], lambda: so_far)
    assert carried(streamer) == [OTHER.hash, THIRD.hash]


def test_history_that_ends_elsewhere_is_refused(
    past: BarPanel, streamer: Streamer, real_bars: BarPanel
) -> None:
    """Features after a gap would be wrong without a word; what was carried still is."""
    streamer.publish(real_bars.at(PAST), "s1")
    with pytest.raises(DataError, match="history for further windows ends with"):
        streamer.set_further([(OTHER, past.symbols)], lambda: past)
    assert carried(streamer) == []


def test_what_the_bars_do_not_allow_is_asked_once(
    past: BarPanel, streamer: Streamer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it; no further bar reads history for it."""
    unknown = [(OTHER, (*past.symbols, "NONE"))]
    streamer.set_further(unknown, lambda: past)
    streamer.set_further(unknown, never)
    assert (carried(streamer), caplog.text.count("unknown symbol 'NONE'")) == ([], 1)


def test_what_was_left_out_is_tried_again_with_the_next_rollout(
    past: BarPanel, streamer: Streamer, real_bars: BarPanel
) -> None:
    """Once nobody needed it, a set is given another chance: bars may have come that it lacked."""
    symbols = past.symbols
    streamer.set_further([(FeatureSet(("busy = volume / sma(volume, 20)",)), symbols)], lambda: past)
    streamer.publish(real_bars.at(PAST), "s1")
    streamer.set_further([], never)
    told = real_bars.between(end=real_bars.at(PAST).timestamp)
    with_volume = replace(told, volume=np.ones_like(told.close))
    streamer.set_further([(FeatureSet(("busy = volume / sma(volume, 20)",)), symbols)], lambda: with_volume)
    assert len(carried(streamer)) == 1


@pytest.mark.parametrize("fails_at", [0, PAST + 1])
def test_an_indicator_that_fails_is_the_affair_of_its_version(
    tmp_path: Path, real_bars: BarPanel, duty: LiveFeatureWriter, reader: OnlineReader, fails_at: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """While its set is taken up, or later: it is left out, with its traceback; the others are written."""
    symbols, file = real_bars.symbols, tmp_path / "own.py"
    file.write_text(OWN.format(limit=real_bars.close[fails_at].min() if fails_at else 0.0, all=not fails_at))
    bad = FeatureSet(("return_1",), None, load_user_indicators(file)).having(["picky(2)"])
    duty.further = lambda: [(bad, symbols), (OTHER, symbols)]
    for index in range(PAST, PAST + 4):
        bar = real_bars.at(index)
        duty.on_bar(bar)
        for features in (MAIN, OTHER):
            assert reader.read(symbols, bar.timestamp, ROWS, features.hash).feature_set == features.hash
    assert carried(duty.streamer) == [OTHER.hash]
    assert caplog.text.count("ValueError: not on such a day") == 1


def test_a_drop_that_fails_half_way_ends_nothing(
    past: BarPanel,
    real_bars: BarPanel,
    duty: LiveFeatureWriter,
    reader: OnlineReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The view may be gone or not: it is not written any more, and the next bar is."""
    symbols, needed = past.symbols, [(OTHER, past.symbols)]
    duty.further = lambda: needed
    duty.on_bar(real_bars.at(PAST))
    needed.clear()
    duty.on_bar(real_bars.at(PAST + 1))
    whole = FeatureStore.apply_windows

    def half(*given: Any) -> NoReturn:
        whole(*given)
        raise VendorError("the registry's disk is full")

    monkeypatch.setattr(FeatureStore, "apply_windows", half)
    for index in (PAST + 2, PAST + 3):
        bar = real_bars.at(index)
        duty.on_bar(bar)
        assert reader.read(symbols, bar.timestamp, ROWS, MAIN.hash).feature_set == MAIN.hash
    assert carried(duty.streamer) == []


def test_what_was_defined_for_training_stays(
    tmp_path: Path, past: BarPanel, real_bars: BarPanel, duty: LiveFeatureWriter
) -> None:
    """A set that was built meanwhile, as the next version's, can still be joined."""
    FeatureStore(tmp_path, OTHER).apply()
    known = {one.name for one in open_feast(tmp_path).list_feature_views()}
    duty.further = lambda: [(THIRD, past.symbols)]
    duty.on_bar(real_bars.at(PAST))
    feast = open_feast(tmp_path)
    assert known < {one.name for one in feast.list_feature_views()}
    assert [one.name for one in feast.list_feature_services()] == [f"set_{OTHER.hash[:12]}"]


def test_a_registry_that_is_away_keeps_no_bar_from_being_written(
    real_bars: BarPanel, duty: LiveFeatureWriter, reader: OnlineReader, caplog: pytest.LogCaptureFixture
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
    duty.on_bar(real_bars.at(PAST + 2))
    assert caplog.text.count("the registry's database is locked") == 1


@pytest.mark.parametrize("needed", [True, False])
def test_who_loses_the_lease_takes_nothing_up(
    tmp_path: Path,
    past: BarPanel,
    duty: LiveFeatureWriter,
    monkeypatch: pytest.MonkeyPatch,
    real_bars: BarPanel,
    needed: bool,
) -> None:
    """While the registry is asked, which may take a while: it neither defines nor stores anything."""
    snapshot, known = duty.snapshot, (tmp_path / REGISTRY_FILE).read_bytes()

    def asked() -> list[Any]:
        monkeypatch.setattr(FileLease, "lost", property(lambda _: True))
        return [(OTHER, past.symbols)] if needed else []

    duty.further = asked
    with pytest.raises(LeaseLostError):
        duty.on_bar(real_bars.at(PAST))
    assert (duty.snapshot, carried(duty.streamer)) == (snapshot, [])
    assert (tmp_path / REGISTRY_FILE).read_bytes() == known
