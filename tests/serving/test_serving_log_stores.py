"""The prediction log in a folder and in a bucket: writer, reader, compaction and limits alike."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import DamagedStoreError, VendorError
from alphaloop.storage.opening import open_store
from alphaloop.storage.s3_store import S3Store
from serving.log import prediction_log
from serving.log.compaction import compact_log
from serving.log.disk_space import LogSpace
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow
from serving.log.prediction_row import partition_location

MODEL, MOMENT = "a/b", datetime(2024, 5, 6, 20, tzinfo=UTC)


def row(number: int) -> PredictionRow:
    """A row of its own bar."""
    as_of = MOMENT + timedelta(minutes=number)
    return PredictionRow(
        prediction_id=f"p-{number}", logged_at=as_of, as_of=as_of, feature_timestamp=as_of,
        model=MODEL, version="1", digest="d", route="champion",
        route_keys=("s",), symbols=("A",), scores=(0.5,), statuses=("ok",),
        features=np.zeros((1, 1, 1), np.float32), input_hash="h", feature_set="f", snapshot="n",
        generation=1, latency_ms=1.0,
    )  # fmt: skip


def write(log: PredictionLog, numbers: range) -> None:
    """Log one row a bar, which makes a file of each."""
    log.start()
    for number in numbers:
        log.put(row(number))
    log.close()


def test_rows_are_logged_read_and_merged_alike_in_both_forms(location: str) -> None:
    """A reader has each row once, while files grow, after a compaction, and from a log opened anew."""
    reader = PredictionLogReader(location, MODEL)
    assert reader.new() == []
    write(PredictionLog(location), range(4))
    seen = [one.prediction_id for one in reader.new()]
    assert seen == ["p-0", "p-1", "p-2", "p-3"]
    write(PredictionLog(location), range(4, 6))
    assert [one.prediction_id for one in reader.wait_for(row(5).logged_at, 5.0)] == ["p-4", "p-5"]
    store = open_store(partition_location(location, MODEL))
    assert len(store.names()) == 6
    later = datetime.now(UTC).date() + timedelta(days=1)
    compact_log(store, later)
    (merged,) = [name for name in store.names() if name.endswith(".parquet")]
    assert merged.startswith("merged-2024-05-06-")
    assert reader.new() == []
    assert [one.prediction_id for one in PredictionLogReader(location, MODEL).new()] == [
        f"p-{number}" for number in range(6)
    ]
    compact_log(store, later, oldest=later)
    assert not [name for name in store.names() if name.endswith(".parquet")]


def test_the_oldest_files_go_beyond_the_limit_in_both_forms(location: str) -> None:
    """Space is measured over all models, and the newest file stays."""
    write(PredictionLog(location), range(3))
    space = LogSpace(location, max_bytes=1)
    space.measure()
    assert space.exceeded and space.shrink() == 2
    assert len(PredictionLogReader(location, MODEL).new()) == 1


def test_a_damaged_file_is_named_in_both_forms(location: str) -> None:
    """The reader says which file cannot be read."""
    write(PredictionLog(location), range(1))
    open_store(partition_location(location, MODEL)).replace("x-0.parquet", b"PAR1")
    with pytest.raises(DamagedStoreError, match=r"x-0\.parquet cannot be read"):
        PredictionLogReader(location, MODEL).new()


def test_rows_wait_while_the_bucket_is_away(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bucket does not take is written once it is back, and nothing is dropped meanwhile."""
    away, ask = [True], S3Store._ask
    monkeypatch.setattr(prediction_log, "RETRY_SECONDS", 0.05)

    def unreliable(store: S3Store, *arguments: Any, **named: Any) -> Any:
        if away[0]:
            raise VendorError("nobody answers")
        return ask(store, *arguments, **named)

    monkeypatch.setattr(S3Store, "_ask", unreliable)
    log = PredictionLog(bucket)
    log.start()
    for number in range(3):
        log.put(row(number))
    time.sleep(0.3)
    away[0] = False
    log.put(row(3))
    log.close()
    assert log.dropped == 0
    assert [one.prediction_id for one in PredictionLogReader(bucket, MODEL).new()] == [
        f"p-{number}" for number in range(4)
    ]


def test_a_log_that_is_given_as_a_path_stays_where_it_was(tmp_path: Path) -> None:
    """Under home the files have the names that they have always had."""
    write(PredictionLog(tmp_path), range(1))
    (file,) = (tmp_path / "model=a%2Fb").iterdir()
    assert file.name.endswith("-00000000.parquet")
