"""The online store on a real Redis: what serving reads, who may write, and what happens without it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock, monotonic, sleep
from alphaloop.errors import (
    DataError,
    InputError,
    LeaseLostError,
    MissingStateError,
    StaleFeaturesError,
    VendorError,
)
from alphaloop.forecasts import SymbolStatus
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from features import parity
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import DEFAULT, FeatureSet
from features.store.feast import folder as repository
from features.store.feature_store import FeatureStore
from features.store.online_address import OnlineAddress, online_address
from features.store.online_reader import OnlineReader
from features.store.redis_lease import RedisLease, connect_redis
from features.store.streamer import Streamer
from features.store.writer_lease import LeaseHeldError
from marketdata.source import close_only_panel

LIVE, WINDOW, SNAPSHOT = 480, 16, "s" * 64
OK, MISSING = SymbolStatus.OK, SymbolStatus.MISSING
PASSWORD = "tell,nobody=7"


@pytest.fixture(scope="module")
def running(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One server for all tests."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(running: Any) -> Any:
    """The server, with nothing in it."""
    client = connect_redis(online_address(running.address))
    client.flushall()
    client.close()
    return running


@pytest.fixture
def locked(redis_server: Any, tmp_path: Path) -> Iterator[Any]:
    """A server that wants a password."""
    with redis_server(tmp_path, PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def frame(real_bars: BarPanel) -> FeatureFrame:
    """Features of the real bars."""
    return backfill(real_bars, DEFAULT)


def settings_of(folder: Path, online: str) -> Settings:
    """Settings with that online store."""
    return Settings(home=folder, features=FeatureSettings(online=online, window=WINDOW))


def open_streamer(
    settings: Settings, bars: BarPanel, clock: ReplayClock, history: int = LIVE, **options: bool
) -> Streamer:
    """A streamer that stands after the first `history` bars."""
    past = bars.between(end=bars.at(history - 1).timestamp)
    return Streamer.from_settings(settings, bars.symbols, past, clock, **options)


# --- what is read ----------------------------------------------------------------------------------


def test_what_is_read_from_redis_is_what_was_built(
    server: Any, tmp_path: Path, real_bars: BarPanel, frame: FeatureFrame, clock: ReplayClock
) -> None:
    """Settings choose Redis; its windows are the backfilled ones to the bit, from any folder."""
    settings = settings_of(tmp_path / "writer", server.address)
    elsewhere = OnlineReader.from_settings(settings_of(tmp_path / "reader", server.address))
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.materialize("base")
        for index in range(LIVE, LIVE + 3):
            bars = real_bars.at(index)
            np.testing.assert_array_equal(streamer.publish(bars, SNAPSHOT), frame.values[index])
            for reader in (OnlineReader.from_settings(settings), elsewhere):
                windows = reader.read(real_bars.symbols, bars.timestamp, WINDOW)
                np.testing.assert_array_equal(windows.panel, frame.window(index, WINDOW))
                assert windows.statuses == (OK,) * len(real_bars.symbols)
                assert (windows.feature_timestamp, windows.snapshot) == (bars.timestamp, SNAPSHOT)
                assert windows.feature_set == DEFAULT.hash
    assert not (settings.paths.feast / "online.db").exists()


def test_parity_through_redis_is_exact(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Backfill, stream and Redis differ by 0, and the measure leaves what serving reads alone."""
    settings = settings_of(tmp_path, server.address)
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.materialize("served")
        report = parity.measure_parity(tmp_path / "parity", real_bars, DEFAULT, 20, server.address)
    assert (report.max_abs_diff, report.bars, report.symbols) == (0.0, 20, 6)
    served = OnlineReader.from_settings(settings).read(("KO",), real_bars.at(LIVE - 1).timestamp, 1)
    assert served.snapshot == "served"


def test_ages_and_gaps_are_seen_in_redis_too(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Other bars are refused by their age; a symbol without a bar, left behind or unknown is masked."""
    settings = settings_of(tmp_path, server.address)
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.materialize()
    reader, stored = OnlineReader.from_settings(settings), real_bars.at(LIVE - 1).timestamp
    with pytest.raises(StaleFeaturesError, match=r"7 days, 0:00:00 older"):
        reader.read(("KO",), stored + timedelta(days=7), 1)
    with pytest.raises(StaleFeaturesError, match=r"0:00:01 newer"):
        reader.read(("KO",), stored - timedelta(seconds=1), 1)
    with pytest.raises(StaleFeaturesError, match="holds none of APPL"):
        reader.read(("APPL",), stored, 1)
    with pytest.raises(MissingStateError, match=r"features\.window"):
        reader.read(("KO",), stored, WINDOW + 1)
    fewer = real_bars.select(("AAPL", "JNJ", "KO"))
    close = fewer.close.copy()
    close[LIVE, 1] = np.nan
    gap = close_only_panel(fewer.timestamps, fewer.symbols, close)
    with open_streamer(settings, gap, clock) as streamer:
        streamer.publish(gap.at(LIVE), SNAPSHOT)
    windows = reader.read(("AAPL", "APPL", "BAC", "JNJ", "KO"), gap.at(LIVE).timestamp, 2)
    assert windows.statuses == (OK, MISSING, MISSING, MISSING, OK)


def test_a_window_without_any_value_replaces_an_older_one(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Rows that are NaN throughout are written as any other; the stale values are gone."""
    settings = settings_of(tmp_path, server.address)
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.materialize()
    nothing = real_bars.between(end=real_bars.at(0).timestamp - timedelta(days=1))
    with Streamer.from_settings(settings, real_bars.symbols, nothing, clock) as streamer:
        streamer.publish(real_bars.at(LIVE), SNAPSHOT)
    reader = OnlineReader.from_settings(settings)
    stored = reader.stored(real_bars.symbols)
    assert all(np.isnan(one.values[:, :5]).all() for one in stored.values())
    assert {one.bar for one in stored.values()} == {real_bars.at(LIVE).timestamp}
    windows = reader.read(real_bars.symbols, real_bars.at(LIVE).timestamp, 1)
    assert windows.statuses == (MISSING,) * len(real_bars.symbols)


def test_a_bar_is_seen_whole_or_not_at_all(server: Any, tmp_path: Path, clock: ReplayClock) -> None:
    """Readers that ask while bars of 700 symbols are written find all of them at one bar, every time."""
    days = np.arange("2020-01-01T21", "2020-03-01T21", dtype="datetime64[D]").astype("datetime64[ns]")
    symbols = tuple(f"S{number:03}" for number in range(700))
    close = 100 + np.random.default_rng(3).random((len(days), len(symbols)))
    bars = close_only_panel(days, symbols, close)
    settings = settings_of(tmp_path, server.address)
    chosen = settings.features.model_copy(update={"set": ("return_1",)})
    settings = settings.model_copy(update={"features": chosen})

    def look(reader: OnlineReader) -> int:
        seen = set()
        while not done:
            found = {one.bar for one in reader.stored(symbols).values()}
            assert len(found) == 1, found
            seen |= found
        return len(seen)

    done: list[bool] = []
    past = bars.between(end=bars.at(9).timestamp)
    with (
        Streamer.from_settings(settings, symbols, past, clock) as streamer,
        ThreadPoolExecutor(2) as pool,
    ):
        streamer.materialize()
        readers = [OnlineReader.from_settings(settings) for _ in range(2)]
        for reader in readers:
            reader.stored(symbols)
        looking = [pool.submit(look, reader) for reader in readers]
        try:
            for index in range(10, len(bars)):
                streamer.publish(bars.at(index), SNAPSHOT)
        finally:
            done.append(True)
        assert min(one.result() for one in looking) > 5


# --- who may write ---------------------------------------------------------------------------------


def test_an_older_row_is_refused_by_redis_itself(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Even a writer that looked before the newer row came writes none of its symbols, unless it replays."""
    settings = settings_of(tmp_path, server.address)
    with open_streamer(settings, real_bars.select(("KO",)), clock, history=LIVE + 5) as other:
        other.materialize("newer")
    with open_streamer(settings, real_bars, clock) as streamer:
        with pytest.raises(DataError, match="would overwrite"):
            streamer.materialize("older")
        streamer._newest = None  # as if it had looked before the newer row came
        with pytest.raises(DataError, match=real_bars.at(LIVE + 4).timestamp.isoformat().replace("+", r"\+")):
            streamer.materialize("older")
    assert set(OnlineReader.from_settings(settings).stored(real_bars.symbols)) == {"KO"}
    with open_streamer(settings, real_bars, clock, replace=True) as replay:
        replay.materialize("replayed")
    stored = OnlineReader.from_settings(settings).stored(real_bars.symbols)
    assert {one.snapshot for one in stored.values()} == {"replayed"}
    assert len(stored) == 6


def test_the_last_bar_can_be_written_again(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock, frame: FeatureFrame
) -> None:
    """The bar that is stored already gets a new snapshot, which Feast's own store would drop silently."""
    settings = settings_of(tmp_path, server.address)
    for snapshot in ("one", "two"):
        with open_streamer(settings, real_bars, clock) as streamer:
            streamer.materialize(snapshot)
            streamer.publish(real_bars.at(LIVE - 1), snapshot)  # the last bar of history: carried on once
            np.testing.assert_array_equal(
                streamer.publish(real_bars.at(LIVE - 1), snapshot), frame.values[LIVE - 1]
            )
        assert OnlineReader.from_settings(settings).stored(("KO",))["KO"].snapshot == snapshot


def test_there_is_one_writer_in_redis(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """A second streamer, of any machine, is refused with the first one's name; closing makes room."""
    with (
        open_streamer(settings_of(tmp_path / "one", server.address), real_bars, clock),
        pytest.raises(LeaseHeldError, match=rf"process {os.getpid()} on .*stop that process"),
    ):
        open_streamer(settings_of(tmp_path / "two", server.address), real_bars, clock)
    open_streamer(settings_of(tmp_path / "two", server.address), real_bars, clock).close()


@pytest.mark.parametrize("still_there", [True, False])
def test_a_writer_whose_lease_was_taken_writes_nothing(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock, still_there: bool
) -> None:
    """After its lease ran out a streamer goes on if nobody came, and is refused by Redis if somebody did."""
    settings = settings_of(tmp_path, server.address)
    client = connect_redis(online_address(server.address))
    with open_streamer(settings, real_bars, clock) as first:
        first.publish(real_bars.at(LIVE), "first")
        client.delete("alphaloop:writer:lease")  # it ran out
        first.publish(real_bars.at(LIVE + 1), "first")
        client.delete("alphaloop:writer:lease")
        with open_streamer(settings, real_bars, clock, history=LIVE + 2) as second:
            second.publish(real_bars.at(LIVE + 2), "second")
            if not still_there:
                second.close()
                assert not client.exists("alphaloop:writer:lease")
            for _ in range(2):
                with pytest.raises(LeaseLostError, match="taken"):
                    first.publish(real_bars.at(LIVE + 3), "first")
            if still_there:
                first.close()
                second.publish(real_bars.at(LIVE + 3), "second")
    client.close()
    stored = OnlineReader.from_settings(settings).stored(real_bars.symbols)
    assert {one.snapshot for one in stored.values()} == {"second"}


def test_a_lease_is_renewed_and_its_number_grows(server: Any) -> None:
    """Held for several of its lives it stays, the next holder's number is larger, and a loss is noticed."""
    address = online_address(server.address)
    first = RedisLease(address, "it", seconds=0.3)
    sleep(1.0)
    with pytest.raises(LeaseHeldError):
        RedisLease(address, "it")
    assert not first.lost
    first.close()
    first.close()
    second = RedisLease(address, "it", seconds=0.3)
    assert second.token == first.token + 1
    client = connect_redis(address)
    client.set("alphaloop:writer:lease", "99 someone (else)")
    deadline = monotonic() + 5
    while not second.lost and monotonic() < deadline:
        sleep(0.02)
    assert second.lost
    second.close()
    assert client.get("alphaloop:writer:lease") == b"99 someone (else)"
    client.close()


def test_nobody_writes_windows_past_the_streamer(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Feast's own ways of writing are refused: without the lease there is no write."""
    from features.store.feast.connection import open_feast

    settings = settings_of(tmp_path, server.address)
    open_streamer(settings, real_bars, clock).close()
    feast = open_feast(settings.paths.feast, server.address)
    import pandas as pd

    row = {"symbol": ["KO"], "timestamp": [pd.Timestamp(real_bars.at(LIVE).timestamp)], "window": [b"w"]}
    lineage = {name: [""] for name in ("snapshot", "feature_set", "universe")}
    with pytest.raises(InputError, match="streamer alone"):
        feast.write_to_online_store("windows", pd.DataFrame({**row, **lineage}))


# --- without it ------------------------------------------------------------------------------------


def test_a_restart_of_redis_is_named_and_outlived(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock, frame: FeatureFrame
) -> None:
    """While Redis is away reads and writes name it; afterwards the same streamer and reader go on."""
    settings = settings_of(tmp_path, server.address)
    reader = OnlineReader.from_settings(settings)
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.publish(real_bars.at(LIVE), SNAPSHOT)
        reader.read(("KO",), real_bars.at(LIVE).timestamp, 1)
        server.stop()
        try:
            for ask in (
                lambda: streamer.publish(real_bars.at(LIVE + 1), SNAPSHOT),
                lambda: reader.read(("KO",), real_bars.at(LIVE + 1).timestamp, 1),
            ):
                with pytest.raises(
                    VendorError, match=rf"{server.address} failed.*check that Redis runs"
                ) as raised:
                    ask()
                assert raised.value.__cause__ is not None
        finally:
            server.start()
        streamer.publish(real_bars.at(LIVE + 1), SNAPSHOT)
        windows = reader.read(real_bars.symbols, real_bars.at(LIVE + 1).timestamp, WINDOW)
        np.testing.assert_array_equal(windows.panel, frame.window(LIVE + 1, WINDOW))
        with pytest.raises(LeaseHeldError):
            open_streamer(settings, real_bars, clock)


def test_a_password_is_used_and_never_shown(
    locked: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the URL or from a mounted file it opens Redis; it is in no text, file, error or process list."""
    from urllib.parse import quote

    mounted = tmp_path / "secret"
    mounted.write_text(PASSWORD + "\n")
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(mounted))
    given = locked.address.replace("//", f"//:{quote(PASSWORD)}@")
    for number, address in enumerate((locked.address, given)):
        if address == given:
            monkeypatch.delenv("REDIS_PASSWORD_FILE")
        settings = settings_of(tmp_path / str(number), address)
        with open_streamer(settings, real_bars, clock) as streamer:
            streamer.materialize()
        assert OnlineReader.from_settings(settings).stored(("KO",))
        FeatureStore.from_settings(settings).apply()
        repository.write_repository(settings)
        for file in (tmp_path / str(number)).rglob("*"):
            assert file.is_dir() or PASSWORD.encode() not in file.read_bytes()
    shown = [f"{online_address(given)!r} {online_address(given)}"]
    wrong = locked.address.replace("//", "//:not-the-password@")
    for address in (locked.address, wrong):
        with pytest.raises(VendorError, match="REDIS_PASSWORD") as raised:
            open_streamer(settings_of(tmp_path / "refused", address), real_bars, clock)
        shown.append("".join(traceback.format_exception(raised.value)))
    assert not any(PASSWORD in one or quote(PASSWORD) in one or "not-the-password" in one for one in shown)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("sqlite", OnlineAddress()),
        ("redis://cache", OnlineAddress("cache", 6379, 0)),
        ("redis://cache:7000/3", OnlineAddress("cache", 7000, 3)),
        ("rediss://u:p@cache/1", OnlineAddress("cache", 6379, 1, tls=True)),
        ("redis://[::1]:6380", OnlineAddress("::1", 6380, 0)),
    ],
)
def test_addresses_are_understood(text: str, meaning: OnlineAddress) -> None:
    """Each form means its host, port, database and TLS, and is written back in its one form."""
    address = online_address(text)
    assert address == meaning
    assert online_address(str(address)) == meaning
    assert "u:p" not in str(address)


@pytest.mark.parametrize(
    "text", ["", "redis", "redis://", "http://x", "redis://h:70000", "redis://h/x", "redis://u:hush@h/0?x=1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Anything else is refused with both forms, and without repeating a password."""
    with pytest.raises(InputError, match=r"redis://host:port/db") as raised:
        online_address(text)
    assert "hush" not in str(raised.value)


def test_another_feature_set_takes_the_place_of_the_first(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """Windows of another set are written over those of the first, and say so."""
    settings = settings_of(tmp_path, server.address)
    with open_streamer(settings, real_bars, clock) as streamer:
        streamer.materialize()
    own = FeatureSet(("rsi(14)", "trend = close / sma(50) - 1"))
    past = real_bars.between(end=real_bars.at(LIVE - 1).timestamp)
    with Streamer(
        settings.paths.feast, own, real_bars.symbols, past, 2, clock, online=server.address
    ) as streamer:
        streamer.materialize()
    windows = OnlineReader.from_settings(settings).read(("KO",), real_bars.at(LIVE - 1).timestamp, 2)
    assert (windows.panel.shape, windows.feature_set) == ((1, 2, 2), own.hash)


def test_two_sets_lie_side_by_side_in_redis(
    server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """A reader with a folder of its own, on whatever machine, gets the windows of the set that it names."""
    other, bar = FeatureSet(("rsi(5)", "return_1")), real_bars.at(LIVE)
    history = real_bars.between(end=real_bars.at(LIVE - 1).timestamp)
    reader = OnlineReader(tmp_path / "elsewhere", server.address)
    with Streamer(
        tmp_path, DEFAULT, real_bars.symbols, history, WINDOW, clock,
        further=[(other, real_bars.symbols)], online=server.address,
    ) as streamer:  # fmt: skip
        streamer.publish(bar, SNAPSHOT)
    for features in (DEFAULT, other):
        windows = reader.read(real_bars.symbols, bar.timestamp, WINDOW, features.hash)
        np.testing.assert_array_equal(windows.panel, backfill(real_bars, features).window(LIVE, WINDOW))
    absent = reader.read(real_bars.symbols, bar.timestamp, WINDOW, "0" * 64)
    assert absent.feature_set == DEFAULT.hash
