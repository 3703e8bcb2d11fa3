"""Snapshots are named by their content, chained, and refuse what was tampered with."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import monotonic
from alphaloop.errors import DamagedStoreError, DataError, InputError, UnknownNameError
from marketdata.storage.retention import prune_snapshots
from marketdata.storage.snapshots import SnapshotStore, content_hash

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


# The id of the first twelve real bars as it was before there were further columns.
KNOWN = "f38928a1456e9d9ce3b4f17d37274f892b219bd8017f255657f7846eba9f5de4"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tagged(table: pa.Table, provider: str = "alpaca", sentiment: float = 0.5) -> pa.Table:
    """The bars with a provider, a flag and a further column."""
    rows = len(table)
    tagged = table.append_column("sentiment", pa.array(np.full(rows, sentiment)))
    tagged = tagged.append_column("provider", pa.array([provider] * rows))
    return tagged.append_column("disputed", pa.array(np.arange(rows) == 2))


def test_bars_without_further_columns_keep_their_ids(tmp_path: Path, table: pa.Table) -> None:
    """The id of bars with the columns of the schema alone is the one that they always had."""
    assert SnapshotStore(tmp_path).save(table.slice(0, 12), SOURCE).id == KNOWN


def test_further_columns_are_stored_and_vouched_for(tmp_path: Path, table: pa.Table) -> None:
    """Provider, disputed and extra columns come back; a change in any is another id; their order is not."""
    store = SnapshotStore(tmp_path)
    snapshot = store.save(tagged(table), SOURCE)
    loaded = SnapshotStore(tmp_path).load(snapshot.id)
    assert loaded.schema.names[8:] == ["disputed", "provider", "sentiment"]
    assert loaded.select(tagged(table).schema.names).equals(tagged(table).combine_chunks())
    turned = tagged(table).select(["provider", *table.schema.names, "disputed", "sentiment"])
    assert store.save(turned, SOURCE).id == snapshot.id
    ids = {
        snapshot.id,
        store.save(table, SOURCE).id,
        store.save(tagged(table, provider="yahoo"), SOURCE).id,
        store.save(tagged(table, sentiment=0.25), SOURCE).id,
        store.save(tagged(table).drop_columns(["disputed"]), SOURCE).id,
    }
    assert len(ids) == 5
    with pytest.raises(DataError, match="no table of bars"):
        store.save(table.append_column("note", pa.array(["x"] * len(table))), SOURCE)


def test_a_delta_may_bring_further_columns(tmp_path: Path, real_bars: BarPanel) -> None:
    """Where only a delta has them, the rows before are of nobody, undisputed and without the value."""
    store = SnapshotStore(tmp_path)
    base = store.save(real_bars.between(end=real_bars.at(9).timestamp).to_table(), SOURCE)
    delta = store.append(base.id, tagged(real_bars.at(10).to_table()))
    loaded = SnapshotStore(tmp_path).load(delta.id)
    assert loaded.num_rows == base.rows + 6
    assert loaded["provider"].to_pylist() == [""] * base.rows + ["alpaca"] * 6
    assert loaded["disputed"].to_pylist().index(True) == base.rows + 2
    assert loaded["sentiment"].null_count == base.rows
    panel = BarPanel.from_table(loaded)
    assert panel.at(10).disputed == ("JNJ",)
    assert panel.at(9).providers == ("",) * 6


def aged(store: SnapshotStore, snapshot_id: str, days: float) -> None:
    """Make a snapshot look as if it was stored so many days before now."""
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(store.describe(snapshot_id).path, (moment, moment))


def test_pruning_keeps_what_is_young_named_or_needed(tmp_path: Path, real_bars: BarPanel) -> None:
    """Old snapshots go; the newest, those named, and every ancestor of what is kept stay and load."""
    store = SnapshotStore(tmp_path)
    abandoned = chain(store, real_bars, base=40, days=3)
    named = chain(store, real_bars.between(start=real_bars.at(1).timestamp), base=40, days=2)
    live = chain(store, real_bars.between(start=real_bars.at(2).timestamp), base=40, days=3)
    for ids in (abandoned, named, live):
        for snapshot_id in ids:
            aged(store, snapshot_id, 100)
    removed = prune_snapshots(store, NOW, keep_days=30, keep=[named[1]])
    assert set(removed) == {*abandoned, named[2]}
    assert removed.index(abandoned[3]) < removed.index(abandoned[0])
    fresh = SnapshotStore(tmp_path)
    assert {one.id for one in fresh.stored()} == {*named[:2], *live}
    for snapshot_id in (named[1], live[3]):
        assert fresh.load(snapshot_id).num_rows == fresh.describe(snapshot_id).rows
    assert prune_snapshots(store, NOW, keep_days=30, keep=[named[1]]) == ()


def test_young_snapshots_and_the_last_few_are_kept(tmp_path: Path, table: pa.Table) -> None:
    """By age and by number, each by itself; a source's newest stays whatever the limits say."""
    store = SnapshotStore(tmp_path)
    ids = [store.save(table.slice(0, 60 + 6 * count), SOURCE).id for count in range(5)]
    for count, snapshot_id in enumerate(ids):
        aged(store, snapshot_id, 50 - 10 * count)
    assert prune_snapshots(store, NOW, keep_days=35) == tuple(reversed(ids[:2]))
    assert prune_snapshots(store, NOW, keep_last=2) == (ids[2],)
    assert prune_snapshots(store, NOW, keep_days=0, keep_last=0) == (ids[3],)
    assert store.latest(SOURCE) == store.describe(ids[4])
    for wrong in ({}, {"keep_days": -1.0}, {"keep_last": -1}):
        with pytest.raises(InputError, match="keep_"):
            prune_snapshots(store, NOW, **wrong)


def test_an_interrupted_prune_leaves_whole_chains(
    tmp_path: Path, real_bars: BarPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any number of removals, every snapshot that is left still loads; a second run ends it."""
    store = SnapshotStore(tmp_path)
    ids = chain(store, real_bars, base=40, days=4)
    newest = store.save(real_bars.to_table(), SOURCE)
    for snapshot_id in ids:
        aged(store, snapshot_id, 100)
    unlink, left = Path.unlink, 2

    def failing(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if left == 0 and path.suffix == ".parquet":
            raise OSError(errno.EIO, "the disk went away")
        left -= path.suffix == ".parquet"
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(OSError, match="went away"):
        prune_snapshots(store, NOW, keep_days=1)
    monkeypatch.undo()
    fresh = SnapshotStore(tmp_path)
    remaining = [one.id for one in fresh.stored()]
    assert set(remaining) == {*ids[:3], newest.id}
    for snapshot_id in remaining:
        assert fresh.load(snapshot_id).num_rows > 0
    assert set(prune_snapshots(fresh, NOW, keep_days=1)) == set(ids[:3])


def test_pruning_sweeps_what_was_left_behind(tmp_path: Path, table: pa.Table) -> None:
    """Reports and quarantines of snapshots that are gone, and old unfinished files, go; the rest stays."""
    store = SnapshotStore(tmp_path)
    old, new = (store.save(table.slice(0, rows), SOURCE) for rows in (60, 66))
    for snapshot in (old, new):
        (tmp_path / f"{snapshot.id}.quality.json").write_text("{}")
    pq.write_table(table, tmp_path / f"{old.id}.quarantine.parquet")
    (tmp_path / ".abc.1.partial").write_text("x")
    (tmp_path / ".def.2.partial").write_text("x")
    for name, age in ((".abc.1.partial", 7200), (".def.2.partial", 60)):
        os.utime(tmp_path / name, (NOW.timestamp() - age,) * 2)
    aged(store, old.id, 10)
    assert prune_snapshots(store, NOW, keep_days=1) == (old.id,)
    assert sorted(os.listdir(tmp_path)) == sorted(
        [".def.2.partial", f"{SOURCE}.head", f"{new.id}.parquet", f"{new.id}.quality.json"]
    )


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, real_bars: BarPanel, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Where writing or moving fails, the error says so, what was stored is whole, and no part is left."""
    store = SnapshotStore(tmp_path)
    ids = chain(store, real_bars, base=50, days=1)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def full(*arguments: Any, **_: Any) -> None:
        if fails == "write":
            Path(arguments[1]).write_bytes(b"half of a")
        raise OSError(errno.ENOSPC, "No space left on device")

    target = ("marketdata.storage.snapshots.pq.write_table", full) if fails == "write" else ("os.link", full)
    monkeypatch.setattr(*target)
    with pytest.raises(
        InputError, match=r"cannot be written \(No space left on device\); nothing was stored"
    ):
        store.append(ids[-1], real_bars.at(51).to_table())
    monkeypatch.undo()
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    assert SnapshotStore(tmp_path).load(ids[-1]).num_rows == 51 * 6
    assert store.append(ids[-1], real_bars.at(51).to_table()).parent == ids[-1]
