"""Snapshots are named by their content, chained, and refuse what was tampered with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alphaloop.clock import monotonic
from alphaloop.errors import DamagedStoreError, DataError, UnknownNameError
from alphaloop.market import BarPanel
from features.snapshots import SnapshotStore, content_hash

SOURCE = "sp500-20"


def chain(store: SnapshotStore, bars: BarPanel, base: int, days: int) -> list[str]:
    """Ids of a base of `base` bars and of `days` deltas of one bar."""
    snapshot = store.save(bars.between(end=bars.at(base - 1).timestamp).to_table(), SOURCE)
    ids = [snapshot.id]
    for index in range(base, base + days):
        ids.append(store.append(ids[-1], bars.at(index).to_table()).id)
    return ids


def test_a_base_and_its_deltas_load_as_the_bars_they_came_from(tmp_path: Path, real_bars: BarPanel) -> None:
    """Base and deltas up to an id give exactly the bars that were stored by then."""
    ids = chain(SnapshotStore(tmp_path), real_bars, base=100, days=20)
    store = SnapshotStore(tmp_path)
    for index in (0, 7, 20):
        expected = real_bars.between(end=real_bars.at(99 + index).timestamp).to_table()
        assert store.load(ids[index]).equals(expected)
        described = store.describe(ids[index])
        assert (described.rows, described.source) == (expected.num_rows, SOURCE)
        assert described.last == real_bars.at(99 + index).timestamp
        assert described.first == real_bars.at(0).timestamp
        assert described.parent == (ids[index - 1] if index else None)
    assert store.latest() == store.describe(ids[-1])


def test_the_same_bars_have_the_same_id_whatever_their_encoding(tmp_path: Path, table: pa.Table) -> None:
    """Chunks, dictionaries, metadata and time units do not change the id; one value does."""
    one = SnapshotStore(tmp_path / "one").save(table, SOURCE)
    parts = [table.slice(0, 11), table.slice(11)]
    chunked = pa.concat_tables(parts).replace_schema_metadata({"made": "elsewhere"})
    encoded = chunked.set_column(0, "symbol", chunked["symbol"].dictionary_encode())
    encoded = encoded.set_column(1, "timestamp", encoded["timestamp"].cast(pa.timestamp("us", tz="UTC")))
    other = SnapshotStore(tmp_path / "two")
    assert other.save(encoded, SOURCE).id == one.id
    assert other.save(table, SOURCE).id == one.id
    close = table["close"].to_numpy().copy()
    close[5] = np.nextafter(close[5], np.inf)
    changed = table.set_column(5, "close", pa.array(close))
    assert other.save(changed, SOURCE).id != one.id
    assert content_hash(changed) != content_hash(table)


def test_a_missing_value_is_not_a_zero(table: pa.Table) -> None:
    """Nulls count: the hash of null volumes is not that of zero volumes."""
    zeros = table.set_column(6, "volume", pa.array(np.zeros(len(table))))
    assert content_hash(zeros) != content_hash(table)


def test_an_id_vouches_for_every_row_before_it(tmp_path: Path, real_bars: BarPanel) -> None:
    """The same delta after another base has another id."""
    one = chain(SnapshotStore(tmp_path / "a"), real_bars, base=100, days=1)
    later = real_bars.between(start=real_bars.at(1).timestamp)
    other = chain(SnapshotStore(tmp_path / "b"), later, base=99, days=1)
    assert one[0] != other[0]
    assert one[1] != other[1]


def test_any_flipped_byte_is_found_or_without_consequence(tmp_path: Path, real_bars: BarPanel) -> None:
    """Flip bytes all over a delta's file: loading names the file, or gives the very same bars."""
    ids = chain(SnapshotStore(tmp_path), real_bars, base=50, days=2)
    path = SnapshotStore(tmp_path).describe(ids[1]).path
    genuine, expected = path.read_bytes(), SnapshotStore(tmp_path).load(ids[2])
    found = 0
    for place in range(0, len(genuine), 97):
        damaged = bytearray(genuine)
        damaged[place] ^= 0x5A
        path.write_bytes(bytes(damaged))
        try:
            assert SnapshotStore(tmp_path).load(ids[2]).equals(expected)
        except DamagedStoreError as error:
            assert path.name in str(error)
            found += 1
    assert found > 5


def test_changed_bars_in_a_healthy_file_are_found(tmp_path: Path, table: pa.Table) -> None:
    """A file written anew with another price, its header kept, is refused and named."""
    store = SnapshotStore(tmp_path)
    snapshot = store.save(table, SOURCE)
    stored = pq.read_table(snapshot.path)
    raised = pc.multiply(stored["close"], 1.01)
    metadata = stored.schema.metadata
    forged = stored.set_column(5, "close", raised).replace_schema_metadata(metadata)
    pq.write_table(forged, snapshot.path)
    with pytest.raises(DamagedStoreError, match=snapshot.path.name):
        SnapshotStore(tmp_path).load(snapshot.id)


def test_a_forged_header_is_found(tmp_path: Path, table: pa.Table) -> None:
    """A header that counts other rows than there are is refused, and so is one that is no header."""
    snapshot = SnapshotStore(tmp_path).save(table, SOURCE)
    stored = pq.read_table(snapshot.path)
    key = b"alphaloop.snapshot"
    header = stored.schema.metadata[key].replace(str(len(table)).encode(), b"7")
    pq.write_table(stored.replace_schema_metadata({key: header}), snapshot.path)
    with pytest.raises(DamagedStoreError, match="header"):
        SnapshotStore(tmp_path).load(snapshot.id)
    pq.write_table(stored.replace_schema_metadata({key: b"{}"}), snapshot.path)
    with pytest.raises(DamagedStoreError, match=snapshot.path.name):
        SnapshotStore(tmp_path).describe(snapshot.id)


def test_a_lost_parent_is_named(tmp_path: Path, real_bars: BarPanel) -> None:
    """A delta whose parent's file is gone cannot be loaded, and the message says which."""
    ids = chain(SnapshotStore(tmp_path), real_bars, base=50, days=2)
    SnapshotStore(tmp_path).describe(ids[1]).path.unlink()
    with pytest.raises(UnknownNameError, match=ids[1]):
        SnapshotStore(tmp_path).load(ids[2])


def test_only_later_bars_can_be_appended(tmp_path: Path, real_bars: BarPanel) -> None:
    """A delta that overlaps its parent is refused; nothing is written."""
    store = SnapshotStore(tmp_path)
    ids = chain(store, real_bars, base=50, days=1)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DataError, match="append later bars"):
        store.append(ids[-1], real_bars.at(50).to_table())
    assert sorted(os.listdir(tmp_path)) == before


def test_tables_that_are_no_bars_are_refused(tmp_path: Path, table: pa.Table) -> None:
    """No rows, a missing column or a column of another kind is a `DataError`, and no folder is made."""
    store = SnapshotStore(tmp_path / "new")
    texts = pa.array(["x"] * len(table))
    for wrong in (table.slice(0, 0), table.drop_columns(["close"]), table.set_column(5, "close", texts)):
        with pytest.raises(DataError):
            store.save(wrong, SOURCE)
    assert not (tmp_path / "new").exists()


def test_unknown_ids_are_named(tmp_path: Path) -> None:
    """An id that is not stored is an `UnknownNameError`, and an empty store has no latest."""
    store = SnapshotStore(tmp_path)
    assert store.latest() is None
    with pytest.raises(UnknownNameError, match="0123"):
        store.load("0123")


def test_the_latest_can_be_asked_of_each_source(tmp_path: Path, table: pa.Table) -> None:
    """Two sources in one store have a latest each; a source's name may hold any character."""
    store = SnapshotStore(tmp_path)
    one = store.save(table, SOURCE)
    two = store.save(table, "file:/data/my bars.csv")
    os.utime(next(tmp_path.glob("file*.head")), ns=(2**62, 2**62))
    assert one.id != two.id
    assert store.latest() == two
    assert store.latest(SOURCE) == one
    assert store.latest("another") is None


def test_days_are_appended_and_loaded_quickly(tmp_path: Path, real_bars: BarPanel) -> None:
    """A delta takes a few milliseconds, and hundreds of them load within a second."""
    started = monotonic()
    ids = chain(SnapshotStore(tmp_path), real_bars, base=100, days=300)
    appended = (monotonic() - started) / 300
    started = monotonic()
    assert SnapshotStore(tmp_path).load(ids[-1]).num_rows == 400 * len(real_bars.symbols)
    # Generous: the machine may be busy. Idle it is 1 ms and 0.2 s.
    assert appended < 0.02
    assert monotonic() - started < 3.0
