"""Compaction of the prediction log: no row is lost and none is read twice, whatever is killed when."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from alphaloop.clock import ReplayClock, sleep
from alphaloop.runtime import atomic_file
from alphaloop.runtime.processes import child_environment
from serving.log import compaction
from serving.log.compaction import LogCompactor, compact_log
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow, partition_folder

DAY = datetime(2024, 5, 6, 21, 0, tzinfo=UTC)
MODEL = "equities"


def row(number: int, day: int = 0) -> PredictionRow:
    """A row of its own number, logged `day` days after the first."""
    moment = DAY + timedelta(days=day, seconds=number)
    return PredictionRow(
        prediction_id=f"p-{day}-{number}", logged_at=moment, as_of=moment, feature_timestamp=moment,
        model=MODEL, version="1", digest="d", route="champion", route_keys=("",), symbols=("A", "B"),
        scores=(0.5, -0.25), statuses=("ok", "ok"), features=np.ones((2, 3), np.float32), input_hash="h",
        feature_set="f", snapshot="s", generation=1, latency_ms=0.5, error=None,
    )  # fmt: skip


def write(folder: Path, count: int, day: int = 0, first: int = 0) -> None:
    """A file for each of `count` rows, as old as the rows are."""
    before = set(files(folder))
    log = PredictionLog(folder)
    log.start()
    for number in range(first, first + count):
        log.put(row(number, day))
    log.close()
    for name in set(files(folder)) - before:
        os.utime(partition_folder(folder, MODEL) / name, (DAY.timestamp() + day * 86_400,) * 2)


def ids(rows: list[PredictionRow]) -> list[str]:
    """The ids in the order read."""
    return [one.prediction_id for one in rows]


def files(folder: Path) -> list[str]:
    """The names of the Parquet files."""
    return sorted(path.name for path in partition_folder(folder, MODEL).glob("*.parquet"))


def test_a_past_day_becomes_one_file(tmp_path: Path) -> None:
    """The rows are the same in the same order, and the present day is left alone."""
    write(tmp_path, 20)
    write(tmp_path, 5, day=1)
    before = PredictionLogReader(tmp_path, MODEL).new()
    assert len(files(tmp_path)) == 25
    compact_log(partition_folder(tmp_path, MODEL), (DAY + timedelta(days=1)).date())
    names = files(tmp_path)
    assert len(names) == 6
    assert [name for name in names if name.startswith("merged-2024-05-06-")] == names[-1:]
    after = PredictionLogReader(tmp_path, MODEL).new()
    assert ids(after) == ids(before)
    assert np.array_equal(after[0].features, before[0].features)
    assert replace(after[3], features=before[3].features) == before[3]


def test_a_reader_goes_on_over_a_compaction(tmp_path: Path) -> None:
    """Rows that were read before are not read again from the merged file; new ones in it are."""
    write(tmp_path, 10)
    reader = PredictionLogReader(tmp_path, MODEL)
    assert len(reader.new()) == 10
    write(tmp_path, 3, first=10)
    folder = partition_folder(tmp_path, MODEL)
    compact_log(folder, date(2024, 6, 1))
    assert ids(reader.new()) == ["p-0-10", "p-0-11", "p-0-12"]
    assert reader.new() == []
    write(tmp_path, 2, first=13)
    compact_log(folder, date(2024, 6, 1))
    assert len(files(tmp_path)) == 1
    assert ids(reader.new()) == ["p-0-13", "p-0-14"]
    assert len(PredictionLogReader(tmp_path, MODEL).new()) == 15


def test_what_was_dropped_is_still_known(tmp_path: Path) -> None:
    """The count of rows that a writer had to drop survives the merging of its files."""
    log = PredictionLog(tmp_path, capacity=4)
    for number in range(10):
        log.put(row(number))
    log.start()
    log.close()
    for path in partition_folder(tmp_path, MODEL).glob("*.parquet"):
        os.utime(path, (DAY.timestamp(),) * 2)
    compact_log(partition_folder(tmp_path, MODEL), date(2024, 6, 1))
    reader = PredictionLogReader(tmp_path, MODEL)
    assert (len(reader.new()), reader.dropped) == (4, 6)


def test_readers_beside_a_compaction_see_each_row_once(tmp_path: Path) -> None:
    """While files are written, merged and merged again, a reader has each row exactly once."""
    stop, seen = threading.Event(), []
    reader = PredictionLogReader(tmp_path, MODEL)

    def read() -> None:
        while not stop.is_set():
            seen.extend(ids(reader.new()))

    thread = threading.Thread(target=read)
    thread.start()
    for start in range(0, 60, 6):
        write(tmp_path, 6, first=start)
        compact_log(partition_folder(tmp_path, MODEL), date(2024, 6, 1))
    stop.set()
    thread.join()
    seen += ids(reader.new())
    assert sorted(seen) == sorted(f"p-0-{number}" for number in range(60))


KILLED = """
import os, random, signal, sys, threading, time
from datetime import date
from pathlib import Path
from serving.log import compaction as log_compaction
seconds = float(sys.argv[2])
def end():
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=end, daemon=True).start()
log_compaction.compact_log(Path(sys.argv[1]), date(2024, 6, 1))
"""


@pytest.mark.parametrize("step", range(14))
def test_killed_at_any_step_nothing_is_lost_or_doubled(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a compaction that ended anywhere readers have every row once, and the next one cleans up."""
    write(tmp_path, 5)
    folder, left = partition_folder(tmp_path, MODEL), step

    class KilledError(BaseException):
        pass

    def dying(function: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return function(*arguments, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "read_log_table", dying(compaction.read_log_table))
        patch.setattr(atomic_file, "_sync", dying(atomic_file._sync))
        patch.setattr(atomic_file.os, "link", dying(os.link))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        with suppress(KilledError):
            compact_log(folder, date(2024, 6, 1))
    expected = [f"p-0-{number}" for number in range(5)]
    assert ids(PredictionLogReader(tmp_path, MODEL).new()) == expected
    compact_log(folder, date(2024, 6, 1))
    assert ids(PredictionLogReader(tmp_path, MODEL).new()) == expected
    assert len(files(tmp_path)) == 1
    assert sorted(one.name for one in folder.iterdir()) == sorted([*files(tmp_path), compaction.LOCK_FILE])


def test_a_day_of_one_file_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it removed the one file that it had merged, a compaction leaves the next no more rows."""
    log, folder = PredictionLog(tmp_path), partition_folder(tmp_path, MODEL)
    for number in range(10):
        log.put(replace(row(number), as_of=None))
    log.start()
    log.close()
    (single,) = folder.glob("*.parquet")
    os.utime(single, (DAY.timestamp(),) * 2)
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "_remove", lambda *_: None)
        compact_log(folder, date(2024, 6, 1))
    assert len(files(tmp_path)) == 2
    compact_log(folder, date(2024, 6, 1))
    (merged,) = files(tmp_path)
    assert pq.read_metadata(folder / merged).num_rows == 10
    assert len(PredictionLogReader(tmp_path, MODEL).new()) == 10


@pytest.mark.long
def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """The same with real processes and real kills, at random moments."""
    chance = random.Random(3)
    write(tmp_path, 300)
    expected = sorted(f"p-0-{number}" for number in range(300))
    for _ in range(20):
        seconds = str(chance.uniform(0.2, 1.2))
        subprocess.run(
            [sys.executable, "-c", KILLED, str(partition_folder(tmp_path, MODEL)), seconds],
            env=child_environment(),
        )
        assert sorted(ids(PredictionLogReader(tmp_path, MODEL).new())) == expected
        write(tmp_path, 5, first=len(expected))
        expected = sorted([*expected, *(f"p-0-{len(expected) + number}" for number in range(5))])


def test_old_days_go(tmp_path: Path) -> None:
    """Days before the retention are removed, whole; with 0 all stay."""
    for day in range(4):
        write(tmp_path, 3, day=day)
    clock = ReplayClock(DAY + timedelta(days=4))
    LogCompactor(tmp_path, 0, clock).compact_all()
    assert len(PredictionLogReader(tmp_path, MODEL).new()) == 12
    LogCompactor(tmp_path, 2, clock).compact_all()
    assert {one.logged_at.date().isoformat() for one in PredictionLogReader(tmp_path, MODEL).new()} == {
        "2024-05-08", "2024-05-09",
    }  # fmt: skip


def test_two_keepers_do_no_harm(tmp_path: Path) -> None:
    """Replicas that compact one folder at the same time leave one file and every row."""
    write(tmp_path, 30)
    clock = ReplayClock(DAY + timedelta(days=9))
    keepers = [LogCompactor(tmp_path, 0, clock) for _ in range(4)]
    for keeper in keepers:
        keeper.start()
    for _ in range(200):
        if len(files(tmp_path)) == 1:
            break
        sleep(0.02)
    for keeper in keepers:
        keeper.close()
    assert len(files(tmp_path)) == 1
    assert len(PredictionLogReader(tmp_path, MODEL).new()) == 30


def test_a_damaged_file_is_left_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Compaction goes on around a file that cannot be read."""
    write(tmp_path, 3)
    damaged = partition_folder(tmp_path, MODEL) / "x-0.parquet"
    damaged.write_bytes(b"PAR1 not really")
    os.utime(damaged, (DAY.timestamp(),) * 2)
    compact_log(partition_folder(tmp_path, MODEL), date(2024, 6, 1))
    assert "x-0.parquet cannot be read" in caplog.text
    assert len(files(tmp_path)) == 2


def test_a_dry_run_counts_what_a_compaction_then_does(tmp_path: Path) -> None:
    """Nothing changes in a dry run; a compaction does what it said, and a second one finds nothing to do."""
    write(tmp_path, 3)
    write(tmp_path, 2, day=1)
    folder, before = partition_folder(tmp_path, MODEL), files(tmp_path)
    today, oldest = (DAY + timedelta(days=2)).date(), (DAY + timedelta(days=1)).date()
    planned = compact_log(folder, today, oldest, dry_run=True)
    assert files(tmp_path) == before
    assert compact_log(folder, today, oldest) == planned
    assert (planned.merged, planned.removed) == (2, 3)
    assert compact_log(folder, today, oldest) == compaction.CompactionReport()
    assert ids(PredictionLogReader(tmp_path, MODEL).new()) == ["p-1-0", "p-1-1"]


def test_a_damaged_file_in_the_middle_is_named_once_and_the_others_are_read(tmp_path: Path) -> None:
    """Whoever gives `on_damage` gets the rows of all other files, and one line about the damaged one."""
    write(tmp_path, 3)
    middle = partition_folder(tmp_path, MODEL) / files(tmp_path)[1]
    middle.write_bytes(b"PAR1 and then nothing")
    told: list[str] = []
    reader = PredictionLogReader(tmp_path, MODEL, on_damage=lambda error: told.append(str(error)))
    assert ids(reader.new()) == ["p-0-0", "p-0-2"]
    assert reader.new() == []
    assert len(told) == 1
    assert str(middle) in told[0]
    assert "move it away" in told[0]
