"""A journal that grows: what an append reads does not grow with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import DamagedStoreError
from alphaloop.journal import anchors as anchors_module
from alphaloop.journal.anchors import BLOCK_BYTES, Anchor, AnchorFile, StreamAnchors
from alphaloop.journal.store import Journal

MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", ReplayClock(MOMENT)) as opened:
        yield opened


def bytes_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> int:
    """The bytes of anchors that `act` reads, of whichever call."""
    sizes, pread, read_bytes = [], os.pread, Path.read_bytes

    def counted(handle: int, size: int, start: int) -> bytes:
        data = pread(handle, size, start)
        sizes.append(len(data))
        return data

    def counted_whole(path: Path) -> bytes:
        data = read_bytes(path)
        sizes.append(len(data))
        return data

    with monkeypatch.context() as patched:
        patched.setattr(anchors_module.os, "pread", counted)
        patched.setattr(Path, "read_bytes", counted_whole)
        act()
    return sum(sizes)


def test_an_append_reads_the_end_of_the_anchors_only(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of 1,000 anchors an append, and the opening of a writer, read a block or two."""
    for number in range(4):
        journal.append("requests", "promote", {"n": number})
    with journal.writer("trading") as writer:
        writer.append("order", {})
    for number in range(1_000):
        journal._anchors.append(Anchor("control", number, "a" * 64))
    journal.append("requests", "promote", {"n": 4})
    journal.writer("trading").append("order", {})
    size = journal._anchors.path.stat().st_size
    assert size > 100_000
    assert bytes_read(monkeypatch, lambda: journal.append("requests", "promote", {})) < 3 * BLOCK_BYTES
    assert bytes_read(monkeypatch, lambda: journal.writer("trading")) < 3 * BLOCK_BYTES


def test_the_end_of_the_anchors_says_what_the_whole_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last required record and later announcements are those of the whole file, in blocks of any size."""
    file = AnchorFile(tmp_path / "anchors.jsonl")
    file.append(Anchor("a", 0, "0" * 64))
    for seq in (1, 2, 3):
        file.announce("a", seq, f"{seq}" * 64)
        file.announce("b", seq, "f" * 64)
    # Another process may anchor its later batch first.
    for seq in (3, 1, 2):
        file.append(Anchor("a", seq, f"{seq}" * 64))
    file.announce("a", 4, "4" * 64)
    with file.path.open("ab") as handle:
        handle.write(b'{"hash": "55')
    for size in (7, 50, 200, BLOCK_BYTES):
        monkeypatch.setattr(anchors_module, "BLOCK_BYTES", size)
        for stream in ("a", "b", "c"):
            whole = file.of(stream)
            assert file.newest_of(stream) == StreamAnchors(whole.required[-1:], whole.announced)


def test_a_damaged_line_at_the_end_names_its_number(tmp_path: Path) -> None:
    """A line that is no anchor stops whoever comes by it, and is named by its number in the file."""
    file = AnchorFile(tmp_path / "anchors.jsonl")
    file.append(Anchor("a", 0, "0" * 64))
    with file.path.open("ab") as handle:
        handle.write(b"damaged\n")
    with pytest.raises(DamagedStoreError, match="line 2 is not an anchor"):
        file.newest_of("a")


def steps(journal: Journal, act: Callable[[], Any]) -> int:
    """The steps of SQLite's virtual machine in hundreds: a scan that finds nothing counts as well."""
    counts = [0]

    def handler() -> int:
        counts[0] += 1
        return 0

    with journal._engine.connect() as connection:
        connection.connection.driver_connection.set_progress_handler(handler, 100)
    act()
    with journal._engine.connect() as connection:
        connection.connection.driver_connection.set_progress_handler(None, 0)
    return counts[0]


def test_a_unique_append_reads_no_other_bodies(journal: Journal) -> None:
    """Behind 3,000 records of the kind it takes the steps that it takes behind 30, found or not."""
    taken = {}
    for size in (30, 3_000):
        batch = [("retrain", {"cause_id": f"{size}-{number}"}) for number in range(size)]
        journal.append_many("requests", batch)
        journal.append("requests", "retrain", {"cause_id": f"first of {size}"}, unique="cause_id")
        taken[size] = [
            steps(journal, partial(journal.append, "requests", "retrain", body, unique="cause_id"))
            for body in ({"cause_id": f"new of {size}"}, {"cause_id": "30-7"})
        ]
    for small, large in zip(taken[30], taken[3_000], strict=True):
        assert large <= small + 3


def test_records_of_before_and_of_others_are_found(journal: Journal) -> None:
    """Records without a key, of an older journal or an append that was not unique, count like the others."""
    first = journal.append("requests", "retrain", {"cause_id": "a"})
    journal.append("requests", "retrain", {"cause_id": "a"})
    assert journal.append("requests", "retrain", {"cause_id": "a"}, unique="cause_id") == first
    later = journal.append("requests", "retrain", {"cause_id": "b"})
    assert journal.append("requests", "retrain", {"cause_id": "b"}, unique="cause_id") == later
    assert len(list(journal.records("requests"))) == 3


def test_a_key_that_names_another_record_is_damage(journal: Journal) -> None:
    """The table is no part of the chain, so what it says is compared with the record."""
    journal.append("requests", "retrain", {"cause_id": "a"}, unique="cause_id")
    journal.append("requests", "retrain", {"cause_id": "b"}, unique="cause_id")
    journal.append("requests", "retrain", {"cause_id": "c"}, unique="cause_id")
    with journal._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE unique_keys SET seq = 1 WHERE seq = 2 AND key <> ''")
    with pytest.raises(DamagedStoreError, match="record 1 is not the 'retrain' whose 'cause_id'"):
        journal.append("requests", "retrain", {"cause_id": "b"}, unique="cause_id")
