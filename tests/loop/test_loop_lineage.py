"""Lineage: the files of records behind the bars of an order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from loop.lineage import record_steps
from marketdata.storage.snapshots import SnapshotStore


def test_lineage_names_the_files_of_records_behind_the_bars(tmp_path: Path, table: pa.Table) -> None:
    """Every digest of a file that was added to stands in order; bars without records have no step."""
    store, half = SnapshotStore(tmp_path), table.num_rows // 2
    base = store.save(table.slice(0, half), "s", {"universe": "a" * 64})
    later = store.append(base.id, table.slice(half), {"universe": "b" * 64, "actions": "c" * 64})
    steps = [
        ("bars", "file of data.universe", f"{'a' * 16}…, {'b' * 16}…"),
        ("bars", "file of data.actions", f"{'c' * 16}…"),
    ]
    assert sorted(record_steps(store, later.id)) == sorted(steps)
    plain = store.save(table, "other")
    assert record_steps(store, plain.id) == []
