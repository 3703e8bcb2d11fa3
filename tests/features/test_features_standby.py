"""A standby takes over from a writer that is killed, frozen or done, and the store stays legal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from alphaloop.bars import BarPanel, Slice
from alphaloop.clock import SystemClock, monotonic
from alphaloop.errors import DataError, InputError, LeaseLostError, MissingStateError
from alphaloop.runtime.processes import child_environment
from alphaloop.settings.data import DataSettings
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import FeatureSet
from features.store.online_reader import OnlineReader
from features.store.standby import Standby
from features.store.streamer import take_writer_lease
from marketdata.storage.snapshots import SnapshotStore

ROOT = Path(__file__).resolve().parents[2]
SOURCE, FIRST, WINDOW, LEASE_SECONDS = "venue", 300, 8, 0.8
FEATURES = ("return_1", "volatility_21", "macd_histogram", "rank_return_5", "trend = close / ema(30) - 1")

# Imports once, then forks a writer for each line that it reads: `kill SECONDS` or `freeze`.
NURSERY = """
import os, random, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from alphaloop.clock import SystemClock, sleep
from alphaloop.errors import LeaseLostError
from alphaloop.bars import BarPanel
from alphaloop.settings.settings import settings_from_json
from features.store.standby import Standby
from features.store.feast.connection import open_feast
import feast.infra.online_stores.sqlite, features.store.feast.redis_store

home, bars = Path(sys.argv[1]), BarPanel.from_table(pq.read_table(sys.argv[2]))
settings = settings_from_json((home / "settings.json").read_text())

def write(most):
    standby = Standby.from_settings(settings, bars.symbols, SystemClock(), lease_seconds=float(sys.argv[3]))
    duty = standby.take_over()
    os.write(1, b"on duty\\n")
    for index in range(len(bars)):
        if bars.at(index).timestamp > duty.last and most:
            most -= 1
            try:
                duty.on_bar(bars.at(index))
            except LeaseLostError:
                os.write(1, b"lost\\n")
                os._exit(0)
    os.write(1, b"done\\n")
    sleep(60)

print("ready", flush=True)
for line in sys.stdin:
    what, *seconds = line.split()
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writes, 1)
        try:
            write(35 if what == "kill" else len(bars))
        finally:
            os._exit(1)
    os.close(writes)
    heard = os.read(reads, 100)
    sleep(float(seconds[0]))
    if what == "kill":
        os.kill(child, signal.SIGKILL)
    else:
        os.kill(child, signal.SIGSTOP)
        print("frozen", flush=True)
        sys.stdin.readline()
        os.kill(child, signal.SIGCONT)
        heard = os.read(reads, 100)
    os.waitpid(child, 0)
    os.close(reads)
    print(heard.decode().split()[0], flush=True)
"""


@pytest.fixture(params=["sqlite", "redis"])
def online(request: pytest.FixtureRequest, redis_server: Any, tmp_path: Path) -> Iterator[str]:
    """Each kind of online store."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    with redis_server(tmp_path) as server:
        yield server.address


@pytest.fixture(scope="module")
def frame(real_bars: BarPanel) -> FeatureFrame:
    """Features of all the bars."""
    return backfill(real_bars, FeatureSet(FEATURES))


@pytest.fixture
def settings(tmp_path: Path, real_bars: BarPanel) -> Settings:
    """A home with a snapshot of the first bars."""
    made = settings_of(tmp_path)
    store = SnapshotStore(made.paths.snapshots)
    store.save(real_bars.between(end=real_bars.at(FIRST - 1).timestamp).to_table(), SOURCE)
    return made


def settings_of(home: Path, online: str = "sqlite") -> Settings:
    """Settings for the features and the store of these tests."""
    chosen = FeatureSettings(set=FEATURES, window=WINDOW, online=online)
    return Settings(home=home / "home", features=chosen, data=DataSettings(source=SOURCE))


def standby_of(settings: Settings, bars: BarPanel, **options: Any) -> Standby:
    """A standby with a short lease."""
    return Standby.from_settings(
        settings, bars.symbols, SystemClock(), lease_seconds=LEASE_SECONDS, **options
    )


def require_legal(settings: Settings, bars: BarPanel, frame: FeatureFrame) -> int:
    """Demand that the store holds all symbols of one bar, as backfilled; that bar's row."""
    stored = OnlineReader.from_settings(settings).stored(bars.symbols)
    assert set(stored) == set(bars.symbols)
    (moment,) = {one.bar for one in stored.values()}
    row = frame.index_of(moment)
    windows = np.stack([stored[symbol].values for symbol in bars.symbols])
    np.testing.assert_array_equal(windows, frame.window(row, WINDOW))
    return row


def require_chain(settings: Settings, snapshot: str, bars: BarPanel) -> None:
    """Demand that a snapshot holds every bar once."""
    table = SnapshotStore(settings.paths.snapshots).load(snapshot)
    assert table.num_rows == len(bars) * len(bars.symbols)
    again = BarPanel.from_table(table, bars.symbols)
    np.testing.assert_array_equal(again.timestamps, bars.timestamps)
    np.testing.assert_array_equal(again.close, bars.close)


@pytest.fixture
def nursery(tmp_path: Path, real_bars: BarPanel, settings: Settings, online: str) -> Iterator[Any]:
    """A process that forks writers, and kills or freezes them."""
    settings = settings_of(tmp_path, online)
    (settings.paths.home / "settings.json").write_text(settings.model_dump_json())
    pq.write_table(real_bars.to_table(), tmp_path / "bars.parquet")
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(settings.paths.home), str(tmp_path / "bars.parquet"),
         str(LEASE_SECONDS)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env=child_environment({"PYTHONPATH": str(ROOT)}), start_new_session=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"

        def tell(line: str) -> str:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(line + "\n")
            return child.stdout.readline().strip()

        try:
            yield tell
        finally:
            os.killpg(child.pid, signal.SIGKILL)


@pytest.mark.long
def test_writers_killed_while_writing_are_followed_without_a_gap(
    nursery: Any, tmp_path: Path, real_bars: BarPanel, frame: FeatureFrame, online: str
) -> None:
    """Five writers die by kill -9 at random moments; the store stays legal, and ends complete."""
    settings, random, reached = settings_of(tmp_path, online), np.random.default_rng(7), FIRST - 1
    for _ in range(5):
        assert nursery(f"kill {random.uniform(0.002, 0.06)}") == "on"
        row = require_legal(settings, real_bars, frame)
        assert row >= reached
        reached = row
    assert FIRST - 1 < reached < len(real_bars) - 1
    with standby_of(settings, real_bars).take_over(timeout=20) as duty:
        assert require_legal(settings, real_bars, frame) in (reached, reached + 1)
        for index in range(FIRST - 5, len(real_bars)):
            duty.on_bar(real_bars.at(index))
        require_chain(settings, duty.snapshot, real_bars)
    assert require_legal(settings, real_bars, frame) == len(real_bars) - 1


@pytest.mark.long
def test_a_frozen_writer_that_wakes_writes_nothing(
    nursery: Any, tmp_path: Path, real_bars: BarPanel, frame: FeatureFrame, online: str
) -> None:
    """Stopped past its lease in Redis and woken, it is refused; on files its lock holds while it lives."""
    settings = settings_of(tmp_path, online)
    assert nursery("freeze 0.03") == "frozen"
    reached = require_legal(settings, real_bars, frame)
    assert reached < len(real_bars) - 1
    if online == "sqlite":
        assert standby_of(settings, real_bars).take_over(timeout=0.5) is None
        return
    with standby_of(settings, real_bars).take_over(timeout=20) as duty:
        for index in range(FIRST, len(real_bars)):
            duty.on_bar(real_bars.at(index))
        assert nursery("wake") == "lost"
        assert require_legal(settings, real_bars, frame) == len(real_bars) - 1
    # Even if it named what it knew as the newest snapshot, a next one goes on from the last.
    with standby_of(settings, real_bars).take_over(timeout=20) as duty:
        require_chain(settings, duty.snapshot, real_bars)
        assert duty.last == real_bars.at(len(real_bars) - 1).timestamp


def test_a_bar_stored_but_not_published_is_published(
    settings: Settings, real_bars: BarPanel, frame: FeatureFrame
) -> None:
    """What a writer stored before it died reaches the online store with the take-over, and with its id."""
    store = SnapshotStore(settings.paths.snapshots)
    base = store.latest(SOURCE)
    assert base is not None
    stored = store.append(base.id, real_bars.at(FIRST).to_table())
    with standby_of(settings, real_bars).take_over() as duty:
        assert duty.snapshot == stored.id
    assert require_legal(settings, real_bars, frame) == FIRST
    assert OnlineReader.from_settings(settings).stored(("KO",))["KO"].snapshot == stored.id


def test_an_older_name_of_the_newest_snapshot_misleads_nobody(
    settings: Settings, real_bars: BarPanel, frame: FeatureFrame
) -> None:
    """Where a writer that woke up too late names an older snapshot, the bars after it are found."""
    with standby_of(settings, real_bars).take_over() as duty:
        first = duty.snapshot
        for index in range(FIRST, FIRST + 3):
            duty.on_bar(real_bars.at(index))
        last = duty.snapshot
    (head,) = settings.paths.snapshots.glob("*.head")
    head.write_text(first + "\n")
    with standby_of(settings, real_bars).take_over() as duty:
        assert duty.snapshot == last
    assert require_legal(settings, real_bars, frame) == FIRST + 2


def test_bars_that_closed_while_nobody_wrote_are_taken_in(
    settings: Settings, real_bars: BarPanel, frame: FeatureFrame
) -> None:
    """The standby asks for what came after the last bar it knows, and goes on after that."""
    asked: list[datetime] = []

    def missed(last: datetime) -> Iterator[Slice]:
        asked.append(last)
        return (real_bars.at(index) for index in range(FIRST, FIRST + 4))

    with standby_of(settings, real_bars, missed=missed).take_over() as duty:
        assert asked == [real_bars.at(FIRST - 1).timestamp]
        assert duty.last == real_bars.at(FIRST + 3).timestamp
        duty.on_bar(real_bars.at(FIRST + 4))
        require_chain(settings, duty.snapshot, real_bars.between(end=real_bars.at(FIRST + 4).timestamp))
    assert require_legal(settings, real_bars, frame) == FIRST + 4
    with pytest.raises(DataError, match="given as one after"):
        standby_of(settings, real_bars, missed=lambda last: [real_bars.at(FIRST)]).take_over()
    take_writer_lease(settings.paths.feast).close()


def test_a_bar_given_again_changes_nothing(settings: Settings, real_bars: BarPanel) -> None:
    """An older bar and the same bar leave snapshots and features as they are; other prices are refused."""
    with standby_of(settings, real_bars).take_over() as duty:
        row = duty.on_bar(real_bars.at(FIRST))
        snapshot = duty.snapshot
        assert duty.on_bar(real_bars.at(FIRST - 7)) is None
        np.testing.assert_array_equal(duty.on_bar(real_bars.at(FIRST)), row)
        assert duty.snapshot == snapshot
        corrected = real_bars.at(FIRST)
        object.__setattr__(corrected, "close", corrected.close * 1.01)
        with pytest.raises(DataError, match="other prices"):
            duty.on_bar(corrected)
    # After a hand-over too.
    with standby_of(settings, real_bars).take_over() as duty:
        np.testing.assert_array_equal(duty.on_bar(real_bars.at(FIRST)), row)
        assert duty.snapshot == snapshot


def test_a_standby_waits_and_gives_up_in_time(
    tmp_path: Path, settings: Settings, real_bars: BarPanel
) -> None:
    """While the lease is held it waits as long as told; without a snapshot it says so and frees the lease."""
    with standby_of(settings, real_bars).take_over() as duty:
        began = monotonic()
        assert standby_of(settings, real_bars).take_over(timeout=0.3, pause=0.05) is None
        assert 0.3 <= monotonic() - began < 2
        duty.close()
        with pytest.raises(InputError, match="closed"):
            duty.on_bar(real_bars.at(FIRST))
    empty = Settings(home=tmp_path / "empty", data=DataSettings(source=SOURCE))
    for _ in range(2):
        with pytest.raises(MissingStateError, match="alphaloop features build"):
            standby_of(empty, real_bars).take_over()


def test_a_removed_lease_file_stops_its_writer(settings: Settings, real_bars: BarPanel) -> None:
    """Once the file is gone another can lock a new one: the first stores and publishes nothing more."""
    with standby_of(settings, real_bars).take_over() as first:
        (settings.paths.feast / "streamer.lease").unlink()
        with standby_of(settings, real_bars).take_over() as second:
            for write in (first.on_bar, lambda bars: first.streamer.publish(bars, "x")):
                with pytest.raises(LeaseLostError):
                    write(real_bars.at(FIRST))
            second.on_bar(real_bars.at(FIRST))
