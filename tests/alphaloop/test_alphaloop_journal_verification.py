"""Verification: whatever was changed in a journal is found, and where."""

from __future__ import annotations

import random
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.journal.anchors import AnchorFile
from alphaloop.journal.chain import GENESIS_HASH, chain_hash
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import EVERY_STREAM, ChainReport, verify_journal

COLUMNS = ("stream", "seq", "at", "kind", "epoch", "body", "previous", "hash")
BATCHES = 4


class Tampered:
    """A journal of twelve trading records in four batches, and one control record, for tampering."""

    def __init__(self, folder: Path) -> None:
        self.file, self.anchors = folder / "journal.db", folder / "anchors.jsonl"
        clock = ReplayClock(datetime(2020, 3, 16, 20, tzinfo=UTC))
        with Journal(self.file, self.anchors, clock) as journal:
            writer = journal.writer("trading")
            for batch in range(BATCHES):
                writer.append_many([("order", {"batch": batch, "number": n}) for n in range(3)])
            journal.writer("control").append("alert", {"drift": True})

    def sql(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.file) as connection:
            connection.execute(statement, values)
        connection.close()

    def rows(self, stream: str = "trading") -> list[list]:
        with sqlite3.connect(self.file) as connection:
            query = f"SELECT {', '.join(COLUMNS)} FROM records WHERE stream = ? ORDER BY seq"
            rows = [list(row) for row in connection.execute(query, (stream,))]
        connection.close()
        return rows

    def report(self, stream: str = "trading") -> ChainReport:
        return next(one for one in verify_journal(self.file, self.anchors) if one.stream == stream)

    def rechain(self) -> None:
        """Compute every link and hash anew, as someone with the code could."""
        previous = GENESIS_HASH
        for row in self.rows():
            digest = chain_hash(*row[:6], previous)
            self.sql(
                "UPDATE records SET previous = ?, hash = ? WHERE stream = 'trading' AND seq = ?",
                previous,
                digest,
                row[1],
            )
            previous = digest


@pytest.fixture
def tampered(tmp_path):
    return Tampered(tmp_path)


def test_an_untouched_journal_is_whole(tampered):
    """Every stream is reported, with its number of records and nothing wrong."""
    assert verify_journal(tampered.file, tampered.anchors) == [
        ChainReport("control", 1, True),
        ChainReport("trading", 12, True),
    ]


@pytest.mark.parametrize("column", ["at", "kind", "body", "previous", "hash", "stream"])
def test_every_byte_of_every_text_is_covered(tampered, column):
    """Flipping a bit of any single byte of any text column of a record is found at that record."""
    original = tampered.rows()[4][COLUMNS.index(column)].encode()
    connection = sqlite3.connect(tampered.file)
    connection.execute("PRAGMA synchronous=OFF")
    # The stream is part of the key: the record is then found missing from its own stream.
    row = connection.execute("SELECT rowid FROM records WHERE stream = 'trading' AND seq = 5").fetchone()[0]
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1 << (position % 8)
        for value in (bytes(changed), original):
            connection.execute(f"UPDATE records SET {column} = CAST(? AS TEXT) WHERE rowid = ?", (value, row))
            connection.commit()
            report = tampered.report()
            assert report.ok == (value == original), (column, position)
            if value != original:
                assert report.first_bad == 5, (column, position, report)
    connection.close()


@pytest.mark.parametrize("column", ["seq", "epoch"])
@pytest.mark.parametrize("value", [0, -1, 4, 6, 13, 2**40])
def test_every_number_is_covered(tampered, column, value):
    """Another sequence number or epoch is found at the record that had it, or at its neighbour."""
    if column == "seq" and value in {4, 6}:
        tampered.sql("DELETE FROM records WHERE stream = 'trading' AND seq = ?", value)
    tampered.sql(f"UPDATE records SET {column} = ? WHERE stream = 'trading' AND seq = 5", value)
    report = tampered.report()
    assert not report.ok
    assert report.first_bad in {1, 4, 5}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_value_of_another_type_is_named(tampered, column):
    """A blob in place of a text or a number is found, though its bytes may be the same."""
    tampered.sql(f"UPDATE records SET {column} = CAST({column} AS BLOB) WHERE stream = 'trading' AND seq = 5")
    report = tampered.report()
    assert (report.ok, report.first_bad) == (False, 5)


def test_a_cut_tail_is_found_by_its_anchor(tampered):
    """Records missing at the end are noticed, and the first of them is named."""
    tampered.sql("DELETE FROM records WHERE stream = 'trading' AND seq > 10")
    report = tampered.report()
    assert (report.ok, report.records, report.first_bad) == (False, 10, 11)
    assert "tail is cut" in str(report.problem)


def test_an_emptied_stream_is_found_by_its_anchors(tampered):
    """A stream without a record left is still reported, because it was anchored."""
    tampered.sql("DELETE FROM records WHERE stream = 'control'")
    assert tampered.report("control") == ChainReport(
        "control", 0, False, "the tail is cut: record 1 was anchored and 0 are left", 1
    )


def test_a_missing_middle_is_found(tampered):
    """A deleted record is named, and so is one that was deleted and closed over by new numbers."""
    tampered.sql("DELETE FROM records WHERE stream = 'trading' AND seq = 5")
    assert tampered.report().first_bad == 5
    tampered.sql("UPDATE records SET seq = seq - 1 WHERE stream = 'trading' AND seq = 6")
    tampered.sql("UPDATE records SET seq = 6 WHERE stream = 'trading' AND seq = 7")
    assert tampered.report().first_bad == 5


def test_a_record_slipped_in_is_found(tampered):
    """An extra record after the end needs the right link, and even then it changes nothing anchored."""
    last = tampered.rows()[-1]
    row = ["trading", 13, last[2], "order", 1, "{}", GENESIS_HASH]
    tampered.sql("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row, chain_hash(*row))
    assert tampered.report().first_bad == 13


def test_a_rewritten_chain_is_found_by_its_anchors(tampered):
    """A whole history whose hashes were computed anew after an edit differs from what was anchored."""
    tampered.sql("UPDATE records SET body = '{}' WHERE stream = 'trading' AND seq = 5")
    tampered.rechain()
    report = tampered.report()
    assert (report.ok, report.first_bad) == (False, 6)
    assert "rewritten" in str(report.problem)


def test_a_chain_rewritten_and_cut_short_is_found(tampered):
    """Rewriting a shorter history is found at the first anchor it cannot meet."""
    tampered.sql("DELETE FROM records WHERE stream = 'trading' AND seq = 1")
    tampered.sql("UPDATE records SET seq = seq - 1 + 100 WHERE stream = 'trading'")
    tampered.sql("UPDATE records SET seq = seq - 100 WHERE stream = 'trading'")
    tampered.rechain()
    assert tampered.report().first_bad == 3


def test_an_older_lease_after_a_newer_one_is_found(tampered):
    """Epochs never fall along a chain, even where hashes and anchors were all made to fit."""
    tampered.sql("UPDATE records SET epoch = 2 WHERE stream = 'trading' AND seq < 5")
    tampered.rechain()
    assert tampered.report().first_bad == 3
    tampered.anchors.write_text("".join(line for line in _lines(tampered) if '"seq": 0' in line))
    assert tampered.report().first_bad == 5
    assert "lease" in str(tampered.report().problem)


def test_a_stream_without_any_anchor_is_not_believed(tampered):
    """Anchors of a stream that were taken away are missed, since every stream is anchored when it begins."""
    tampered.anchors.write_text("".join(line for line in _lines(tampered) if '"control"' in line))
    assert (tampered.report().ok, tampered.report("control").ok) == (False, True)
    assert "never anchored" in str(tampered.report().problem)
    tampered.anchors.unlink()
    assert not tampered.report("control").ok


def test_a_changed_anchor_is_found(tampered):
    """An edited hash fails its stream, and a line that is no anchor fails them all."""
    last = AnchorFile(tampered.anchors).last("trading")
    tampered.anchors.write_text(tampered.anchors.read_text().replace(last.hash, "f" * 64))
    assert tampered.report().first_bad == 12
    tampered.anchors.write_text("nonsense\n")
    (report,) = verify_journal(tampered.file, tampered.anchors)
    assert (report.stream, report.ok) == (EVERY_STREAM, False)


def test_a_missing_last_anchor_is_no_damage(tampered):
    """A crash between commit and anchor leaves records that no anchor names; the chain still holds."""
    lines = _lines(tampered)
    trading = [line for line in lines if '"trading"' in line]
    tampered.anchors.write_text("".join(line for line in lines if line != trading[-1]))
    assert tampered.report().ok


def test_a_journal_that_is_gone_is_missed(tampered, tmp_path):
    """Anchors without a database are a problem; neither of them is an empty answer."""
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    (report,) = verify_journal(tampered.file, tampered.anchors)
    assert (report.ok, "gone" in str(report.problem)) == (False, True)
    assert verify_journal(tmp_path / "none.db", tmp_path / "none.jsonl") == []


def test_raw_damage_is_reported_and_never_raises(tampered, tmp_path):
    """Whatever byte of the file is overwritten, verification answers; a changed body is always found."""
    whole = tampered.file.read_bytes()
    damaged = tmp_path / "damaged.db"
    found = 0
    places = random.Random(7).sample(range(len(whole)), 150)
    for place in places:
        raw = bytearray(whole)
        raw[place] ^= 0xFF
        damaged.write_bytes(raw)
        found += not all(report.ok for report in verify_journal(damaged, tampered.anchors))
    assert found > 0
    place = whole.index(b'{"batch":1,"number":1}') + 9
    damaged.write_bytes(whole[:place] + b"9" + whole[place + 1 :])
    report = next(one for one in verify_journal(damaged, tampered.anchors) if one.stream == "trading")
    assert (report.ok, report.first_bad) == (False, 5)


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\x00", b"\x00" * 8192], ids=repr)
def test_a_file_that_is_no_database_is_reported(tampered, content):
    """An empty, foreign or blank file in place of the journal is damage, told in one report."""
    tampered.file.write_bytes(content[:9000])
    (report,) = verify_journal(tampered.file, tampered.anchors)
    assert (report.stream, report.ok) == (EVERY_STREAM, False)
    assert "damaged" in str(report.problem)


def test_a_truncated_file_is_reported(tampered):
    """Half a database is damage, told in one report."""
    raw = tampered.file.read_bytes()
    tampered.file.write_bytes(raw[: len(raw) // 2])
    assert not any(report.ok for report in verify_journal(tampered.file, tampered.anchors))


def test_verification_changes_nothing(tampered, tmp_path):
    """A journal is verified without a byte of it being written, beside a writer that holds it open."""
    copy = tmp_path / "copy.db"
    shutil.copy(tampered.file, copy)
    before = copy.read_bytes()
    assert all(report.ok for report in verify_journal(copy, tampered.anchors))
    assert copy.read_bytes() == before


def _lines(tampered: Tampered) -> list[str]:
    return tampered.anchors.read_text().splitlines(keepends=True)
