"""The prediction log: complete, incremental, bounded."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import DamagedStoreError
from serving.log.compaction import LogCompactor
from serving.log.disk_space import LogSpace
from serving.log.prediction_log import (
    MAX_WAITING_BYTES,
    SCHEMA,
    PredictionLog,
    PredictionLogReader,
    PredictionRow,
    partition_folder,
)
from serving.log.prediction_row import DROPPED_KEY, rows_to_table

BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)


def row(number: int = 0, as_of: datetime | None = BAR, model: str = "equities") -> PredictionRow:
    """A row that differs from others by its number."""
    return PredictionRow(
        prediction_id=f"p-{number}", logged_at=BAR + timedelta(seconds=number), as_of=as_of,
        feature_timestamp=as_of, model=model, version="1", digest="d", route="champion",
        route_keys=(f"sleeve-{number:02d}",), symbols=("A", "B"), scores=(0.5, -0.25), statuses=("ok", "ok"),
        features=np.array([[1, 2, 3], [4, 5, number]], np.float32), input_hash="h", feature_set="f",
        snapshot="s", generation=3, latency_ms=0.5, error=None,
    )  # fmt: skip


def test_a_row_comes_back_as_it_was_put(tmp_path: Path) -> None:
    """Every field survives the file, the features bit for bit."""
    log = PredictionLog(tmp_path)
    log.start()
    put = replace(row(7), error="said no", scores=(float("nan"), 0.1))
    log.put(put)
    log.close()
    (read,) = PredictionLogReader(tmp_path, "equities").new()
    assert np.array_equal(read.features, put.features)
    assert np.isnan(read.scores[0])
    assert read.scores[1] == np.float32(0.1)
    others = [one.name for one in fields(PredictionRow) if one.name not in {"features", "scores"}]
    assert {name: getattr(read, name) for name in others} == {name: getattr(put, name) for name in others}


def test_every_row_arrives_once_and_in_order(tmp_path: Path) -> None:
    """Reading while rows are written gives each row once, sorted by bar."""
    log, reader = PredictionLog(tmp_path), PredictionLogReader(tmp_path, "equities")
    log.start()
    seen: list[PredictionRow] = []
    for day in range(5):
        for number in range(20):
            log.put(row(number, BAR + timedelta(days=day)))
        seen += reader.new()
    log.close()
    seen += reader.new()
    assert reader.new() == []
    assert [(one.as_of, one.route_keys) for one in seen] == [
        (BAR + timedelta(days=day), (f"sleeve-{number:02d}",)) for day in range(5) for number in range(20)
    ]
    assert reader.dropped == log.dropped == 0


def test_a_new_bar_flushes_the_one_before(tmp_path: Path) -> None:
    """Each file holds one bar of one model, although the rows came in one rush."""
    log = PredictionLog(tmp_path)
    for day in range(3):
        for number in range(4):
            log.put(row(number, BAR + timedelta(days=day)))
    log.start()
    log.close()
    files = sorted(partition_folder(tmp_path, "equities").iterdir())
    assert [pq.read_metadata(file).num_rows for file in files] == [4, 4, 4]


def test_requests_of_several_bars_share_files(tmp_path: Path) -> None:
    """Clients that ask for two bars in turn, and without one, do not make a file of each row."""
    log = PredictionLog(tmp_path, flush_seconds=60)
    for number in range(30):
        log.put(row(number, (BAR, BAR + timedelta(days=1), None)[number % 3]))
    log.start()
    log.close()
    files = sorted(partition_folder(tmp_path, "equities").glob("*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [1, 29]


def test_inputs_that_a_client_sent_begin_no_bar(tmp_path: Path) -> None:
    """Rows of tensors whose `as_of` rises share a file, and the bars of the store are told apart as ever."""
    log = PredictionLog(tmp_path, flush_seconds=60)
    for number in range(30):
        log.put(replace(row(number, BAR + timedelta(minutes=number)), symbols=()))
    for day in range(2):
        log.put(row(day, BAR + timedelta(days=day)))
    log.start()
    log.close()
    files = sorted(partition_folder(tmp_path, "equities").glob("*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [30, 1, 1]


def test_rows_are_written_soon_although_nothing_follows(tmp_path: Path) -> None:
    """A reader that waits for a bar gets it without the log being closed."""
    log, reader = PredictionLog(tmp_path), PredictionLogReader(tmp_path, "equities")
    log.start()
    log.put(row())
    assert [one.prediction_id for one in reader.wait_for(BAR, timeout=5)] == ["p-0"]
    log.close()


def test_waiting_ends_at_its_timeout_with_what_came(tmp_path: Path) -> None:
    """Where the bar does not come, the rows that did come are not lost."""
    log, reader = PredictionLog(tmp_path), PredictionLogReader(tmp_path, "equities")
    log.start()
    log.put(row())
    rows = reader.wait_for(BAR + timedelta(days=1), timeout=0.3)
    log.close()
    assert [one.prediction_id for one in rows] == ["p-0"]


def test_models_have_logs_of_their_own(tmp_path: Path) -> None:
    """A reader sees the rows of its model alone, whatever characters its name has."""
    log = PredictionLog(tmp_path)
    log.start()
    log.put(row(1))
    log.put(row(2, model="fx/spot"))
    log.close()
    assert [one.prediction_id for one in PredictionLogReader(tmp_path, "fx/spot").new()] == ["p-2"]
    assert [one.prediction_id for one in PredictionLogReader(tmp_path, "equities").new()] == ["p-1"]
    assert PredictionLogReader(tmp_path, "nothing").new() == []


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    """A full queue never makes `put` wait, and the reader learns how many rows are missing."""
    log = PredictionLog(tmp_path, capacity=10)
    for number in range(25):
        log.put(row(number))
    assert log.dropped == 15
    log.start()
    log.close()
    reader = PredictionLogReader(tmp_path, "equities")
    assert len(reader.new()) == 10
    assert reader.dropped == 15


def test_rows_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    """A folder that cannot be made costs the rows, not the process."""
    (tmp_path / "taken").write_text("a file")
    log = PredictionLog(tmp_path / "taken")
    log.start()
    log.put(row())
    log.put(row(1))
    log.close()
    assert log.dropped == 2


@pytest.mark.parametrize(
    "unwritable",
    [
        replace(row(0, BAR + timedelta(days=1)), route_keys=("\ud800",)),
        replace(row(0, BAR + timedelta(days=1)), features=None),
        replace(row(0, BAR + timedelta(days=1)), model="\ud800"),
    ],
    ids=["a text that is not Unicode", "no features", "a model that no folder can be named after"],
)
def test_rows_that_no_file_can_hold_cost_themselves_alone(
    tmp_path: Path, unwritable: PredictionRow, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer says so, counts them as dropped, and writes what comes after them."""
    log = PredictionLog(tmp_path)
    for one in (row(0), unwritable, row(1, BAR + timedelta(days=2))):
        log.put(one)
    log.start()
    log.close()
    assert log.dropped == 1
    assert "1 predictions of" in caplog.text
    assert [one.prediction_id for one in PredictionLogReader(tmp_path, "equities").new()] == ["p-0", "p-1"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A file that is not Parquet is named, and what is whole can be read once it is gone."""
    log = PredictionLog(tmp_path)
    log.start()
    log.put(row())
    log.close()
    damaged = partition_folder(tmp_path, "equities") / "x-0.parquet"
    damaged.write_bytes(b"PAR1 not really")
    reader = PredictionLogReader(tmp_path, "equities")
    with pytest.raises(DamagedStoreError, match=r"x-0\.parquet cannot be read"):
        reader.new()
    damaged.unlink()
    assert len(reader.new()) == 1


def test_the_log_is_an_ordinary_partitioned_dataset(tmp_path: Path) -> None:
    """Any Parquet reader can open the files: the columns are those of the schema."""
    log = PredictionLog(tmp_path)
    log.start()
    log.put(row(0, as_of=None))
    log.close()
    table = pyarrow.dataset.dataset(sorted(tmp_path.rglob("*.parquet")), format="parquet").to_table()
    assert table.schema.names == SCHEMA.names
    assert table["as_of"].null_count == 1


def sent(number: int, symbols: int, features: int = 24) -> PredictionRow:
    """A row of inputs that a client sent, with random features, which do not compress."""
    values = np.random.default_rng(number).normal(size=(symbols, features)).astype(np.float32)
    return replace(
        row(number), symbols=(), scores=(0.5,) * symbols, statuses=("ok",) * symbols, features=values
    )


def test_what_waits_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Rows of a megabyte are far fewer than rows of a kilobyte; what finds no room is dropped and counted."""
    log = PredictionLog(tmp_path)
    for number in range(100):
        log.put(sent(number, 4_000))
    fit = MAX_WAITING_BYTES // sent(0, 4_000).size_bytes
    assert (len(log._queue), log.dropped) == (fit, 100 - fit)
    log.start()
    log.close()
    assert len(PredictionLogReader(tmp_path, "equities").new()) == fit
    log.put(row(0))
    assert len(log._queue) == 1


def test_a_very_large_panel_that_a_client_sent_is_not_kept(tmp_path: Path) -> None:
    """It would fill the log; a universe that is as large is kept, as evidence is read from it."""
    log = PredictionLog(tmp_path)
    large = sent(1, 20_000)
    universe = replace(large, symbols=tuple(f"S{number}" for number in range(20_000)))
    log.put(large)
    log.put(universe)
    log.start()
    log.close()
    (kept,) = PredictionLogReader(tmp_path, "equities").new()
    assert (len(kept.symbols), log.dropped) == (20_000, 1)


def test_rows_that_clients_sent_have_half_of_the_disk(tmp_path: Path) -> None:
    """Whoever sends panels without end cannot push out the rows that evidence is read from."""
    most = 400_000
    log = PredictionLog(tmp_path, flush_seconds=0.0, space=LogSpace(tmp_path, most))
    log.start()
    for number in range(40):
        log.put(sent(number, 500))
    for number in range(20):
        log.put(row(number))
    log.close()
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.parquet"))
    assert most / 2 < size < most
    rows = PredictionLogReader(tmp_path, "equities").new()
    assert sum(bool(one.symbols) for one in rows) == 20
    assert log.dropped == 60 - len(rows) > 0


def test_what_exceeds_the_disk_goes_oldest_first(tmp_path: Path) -> None:
    """The keeper removes old files of any model until the rest fits, and never the newest."""
    space, seen = LogSpace(tmp_path, 60_000), set[Path]()
    log = PredictionLog(tmp_path, space=space)
    for day in range(10):
        log._pending = {f"m{day % 2}": [sent(day, 100)]}
        log._flush()
        (written,) = [file for file in tmp_path.rglob("*.parquet") if file not in seen]
        os.utime(written, (1e9 + day, 1e9 + day))
        seen.add(written)
    assert space.exceeded
    LogCompactor(tmp_path, space=space).enforce_space()
    left = sorted(file.stat().st_mtime - 1e9 for file in tmp_path.rglob("*.parquet"))
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.parquet"))
    assert left == list(range(10 - len(left), 10))
    assert size == space.used <= 60_000
    tiny = LogSpace(tmp_path, 1)
    tiny.measure()
    assert tiny.shrink() == len(left) - 1
    assert [file.stat().st_mtime - 1e9 for file in tmp_path.rglob("*.parquet")] == [9.0]


def write_as_before(folder: Path, rows: list[PredictionRow]) -> None:
    """Write a file as a release before this one did: one route key a row, in the column `route_key`."""
    table = rows_to_table(rows).drop_columns("route_keys")
    target = partition_folder(folder, rows[0].model)
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({DROPPED_KEY: b"0"}), target / "before-00000000.parquet")


def test_a_log_of_before_is_read_and_goes_on(tmp_path: Path) -> None:
    """Rows with one route key of an earlier release come beside rows with several, also once merged."""
    write_as_before(tmp_path, [row(0), row(1)])
    log = PredictionLog(tmp_path)
    log.start()
    log.put(replace(row(2), route_keys=("sleeve-02", "sleeve-03")))
    log.close()
    expected = [("sleeve-00",), ("sleeve-01",), ("sleeve-02", "sleeve-03")]
    assert [one.route_keys for one in PredictionLogReader(tmp_path, "equities").new()] == expected
    day_after = datetime.now(UTC) + timedelta(days=1)
    LogCompactor(tmp_path, clock=SimpleNamespace(now=lambda: day_after)).compact_all()
    (merged,) = partition_folder(tmp_path, "equities").glob("*.parquet")
    assert merged.name.startswith("merged-")
    assert [one.route_keys for one in PredictionLogReader(tmp_path, "equities").new()] == expected


def test_the_column_of_one_route_key_goes_on(tmp_path: Path) -> None:
    """A query of before finds a row's only route key where it was; of several it finds none."""
    log = PredictionLog(tmp_path)
    log.start()
    log.put(row(0))
    log.put(replace(row(1), route_keys=("sleeve-01", "sleeve-02")))
    log.close()
    table = pyarrow.dataset.dataset(tmp_path, format="parquet").to_table()
    assert table["route_key"].to_pylist() == ["sleeve-00", None]


def test_route_keys_count_as_memory() -> None:
    """A row with many long keys takes its room in the bound on waiting rows."""
    keys = tuple(f"{number:04d}" + "x" * 1_000 for number in range(1_000))
    assert replace(row(), route_keys=keys).size_bytes > row().size_bytes + 1_000_000
