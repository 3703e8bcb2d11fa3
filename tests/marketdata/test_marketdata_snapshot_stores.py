"""Snapshots in a folder and in a bucket: one contract, and what a late writer of a bucket meets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import DamagedStoreError, UnknownNameError
from alphaloop.storage.object_store import LateWriteError
from marketdata.quality.cleaning import clean_bars
from marketdata.quality.quality_report import excluded_bars, read_quality_report, write_quality_report
from marketdata.storage.retention import prune_snapshots
from marketdata.storage.snapshots import SnapshotStore

SOURCE = "sp500-20"


def test_a_base_and_its_deltas_are_stored_and_read_alike_in_a_folder_and_a_bucket(
    location: str, real_bars: BarPanel
) -> None:
    """The same ids, bars, heads and errors come from both forms, and from a store opened anew."""
    store = SnapshotStore(location)
    assert store.latest(SOURCE) is None and store.latest() is None
    base = store.save(real_bars.part(0, 51).to_table(), SOURCE)
    delta = store.append(base.id, real_bars.at(51).to_table())
    assert store.append(base.id, real_bars.at(51).to_table()).id == delta.id
    again = SnapshotStore(location)
    assert again.latest(SOURCE) == again.latest() == delta
    assert again.heads() == {delta.id} and {one.id for one in again.stored()} == {base.id, delta.id}
    assert again.load(delta.id).equals(real_bars.part(0, 52).to_table())
    assert str(delta.path).endswith(f"{delta.id}.parquet")
    with pytest.raises(UnknownNameError, match=r"unknown snapshot 'other' in .*store|of/tests"):
        again.load("other")
    renamed = again.rename(SOURCE, "another")
    assert renamed == delta and again.latest(SOURCE) is None and again.latest("another") == delta


def test_a_damaged_snapshot_is_found_in_both_forms(location: str, real_bars: BarPanel) -> None:
    """A file that does not hash to its name is named."""
    store = SnapshotStore(location)
    base = store.save(real_bars.part(0, 21).to_table(), SOURCE)
    other = store.save(real_bars.part(0, 22).to_table(), SOURCE)
    store.objects.replace(f"{base.id}.parquet", store.objects.read(f"{other.id}.parquet"))
    with pytest.raises(DamagedStoreError, match="its content does not hash to its name"):
        SnapshotStore(location).load(base.id)


def test_quality_reports_and_pruning_work_in_both_forms(location: str, real_bars: BarPanel) -> None:
    """A snapshot's report lies beside it, and both are removed when it is no longer needed."""
    store = SnapshotStore(location)
    old = store.save(real_bars.part(0, 21).to_table(), SOURCE)
    cleaned = clean_bars(real_bars.part(0, 21).to_table(), "XNYS", "the test")
    write_quality_report(store.objects, old.id, cleaned)
    assert read_quality_report(store.objects, old.id).rows == cleaned.table.num_rows
    assert excluded_bars(store.objects, old.id).num_rows == 0
    new = store.save(real_bars.part(0, 31).to_table(), SOURCE)
    later = datetime.now(UTC) + timedelta(days=2)
    assert prune_snapshots(store, later, keep_days=1) == (old.id,)
    assert [one.id for one in SnapshotStore(location).stored()] == [new.id]
    assert not [name for name in store.objects.names() if name.startswith(old.id)]


def test_a_late_delta_of_a_fenced_writer_is_refused_and_the_head_never_goes_back(
    bucket: str, real_bars: BarPanel
) -> None:
    """In a bucket a snapshot has one successor.

    A writer that was overtaken is refused, and where it only sets the head back, readers follow it forward.
    """
    working, fenced = SnapshotStore(bucket), SnapshotStore(bucket)
    base = working.save(real_bars.part(0, 51).to_table(), SOURCE)
    first = working.append(base.id, real_bars.at(51).to_table())
    second = working.append(first.id, real_bars.at(52).to_table())
    with pytest.raises(LateWriteError, match="stored by another process before"):
        fenced.append(base.id, real_bars.at(53).to_table())
    assert fenced.append(base.id, real_bars.at(51).to_table()) == first
    assert working.objects.read(f"{SOURCE}.head").decode().strip() == first.id
    assert working.latest(SOURCE) == second and working.heads() == {second.id}
    third = working.append(second.id, real_bars.at(53).to_table())
    assert third.rows == real_bars.part(0, 54).to_table().num_rows
