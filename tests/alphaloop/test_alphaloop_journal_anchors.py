"""Tamper evidence does not heal: what no writer anchored is reported until a person vouches for it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import ChainBrokenError, DamagedStoreError, VendorError
from alphaloop.journal.anchors import Anchor, AnchorFile
from alphaloop.journal.chain import chain_hash
from alphaloop.journal.record import canonical_json
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import verify_journal

MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)
NOBODY = 65534


class Home:
    """A journal of three batches of two records, for opening, tampering and verifying."""

    def __init__(self, folder: Path) -> None:
        self.file, self.anchors = folder / "journal.db", folder / "anchors.jsonl"
        with self.open() as journal, journal.writer("trading") as writer:
            for batch in range(3):
                writer.append_many([("fill", {"batch": batch, "cost": "1.00"}) for _ in range(2)])

    def open(self) -> Journal:
        return Journal(self.file, self.anchors, ReplayClock(MOMENT))

    def sql(self, statement: str, *values: object) -> list:
        connection = sqlite3.connect(self.file)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def forge(self, count: int = 1) -> None:
        """Add records behind the last one whose hashes and links are right."""
        for _ in range(count):
            ((seq, at, epoch, previous),) = self.sql(
                "SELECT seq, at, epoch, hash FROM records ORDER BY seq DESC LIMIT 1"
            )
            fields = ("trading", seq + 1, at, "fill", epoch, canonical_json({"cost": "0.00"}), previous)
            self.sql("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *fields, chain_hash(*fields))

    def report(self):
        (one,) = verify_journal(self.file, self.anchors)
        return one

    def keep_anchors(self, up_to: int) -> None:
        """Leave the anchors of records up to `up_to`, as an older copy of the file would have them."""
        kept = [line for line in self.anchors.read_text().splitlines(True) if _seq(line) <= up_to]
        self.anchors.write_text("".join(kept))


def _seq(line: str) -> int:
    return int(line.split('"seq": ')[1].split(",", maxsplit=1)[0])


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.mark.parametrize("count", [1, 2])
def test_records_that_no_writer_announced_are_found_and_not_written_after(home, count):
    """A forged batch behind the last anchor is reported, and a writer refuses it and anchors nothing."""
    home.forge(count)
    before = home.anchors.read_bytes()
    assert (home.report().ok, home.report().first_bad, home.report().unanchored) == (False, 7, count)
    with home.open() as journal, pytest.raises(ChainBrokenError, match="audit adopt"):
        journal.writer("trading")
    assert home.anchors.read_bytes() == before
    assert not home.report().ok


def test_anchors_that_were_taken_away_are_missed_for_good(home):
    """Without the anchors no writer opens, so that a rewritten chain does not become the believed one."""
    home.anchors.unlink()
    with home.open() as journal, pytest.raises(ChainBrokenError, match="never anchored"):
        journal.writer("trading")
    assert not home.anchors.exists()
    assert "never anchored" in str(home.report().problem)


def test_an_older_copy_of_the_anchors_is_not_brought_up_to_date(home):
    """Anchors that end before the records are damage, whichever batch they end at."""
    home.keep_anchors(4)
    assert (home.report().ok, home.report().first_bad) == (False, 5)
    with home.open() as journal, pytest.raises(ChainBrokenError, match="records 5 to 6"):
        journal.writer("trading")


def test_what_a_crash_left_is_gone_on_from_and_anchored_by_nobody(home):
    """A batch that was committed and whose last anchor is missing is whole; only the next batch vouches."""
    lines = home.anchors.read_text().splitlines(True)
    home.anchors.write_text("".join(lines[:-1]))
    assert home.report().ok
    with home.open() as journal, journal.writer("trading") as writer:
        assert [one.seq for one in AnchorFile(home.anchors).of("trading").required] == [0, 2, 4]
        assert writer.append("fill", {}).seq == 7
    assert home.report().ok
    home.sql("DELETE FROM records WHERE seq = 7")
    assert not home.report().ok


def test_a_batch_whose_anchor_cannot_be_written_is_not_journaled(home, monkeypatch):
    """Where the anchors take no line, nothing is committed; where they do again, the writer goes on."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with home.open() as journal, journal.writer("trading") as writer:
        with monkeypatch.context() as patched:
            patched.setattr(AnchorFile, "announce", full)
            with pytest.raises(VendorError, match="No space left"):
                writer.append("fill", {"n": 1})
        assert len(list(journal.records("trading"))) == 6
        assert writer.append("fill", {"n": 2}).seq == 7
    assert home.report().ok


def test_a_writer_that_could_not_anchor_stops_before_its_next_batch(home, monkeypatch):
    """One batch may stand committed without its last anchor, never two: the writer has to be taken anew."""

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with home.open() as journal, journal.writer("trading") as writer:
        with monkeypatch.context() as patched:
            patched.setattr(AnchorFile, "append", refused)
            with pytest.raises(VendorError, match="has stopped"):
                writer.append("fill", {"n": 1})
        with pytest.raises(VendorError, match="has stopped"):
            writer.append("fill", {"n": 2})
        assert [one.seq for one in journal.records("trading")] == [1, 2, 3, 4, 5, 6, 7]
        assert home.report().ok
        assert journal.writer("trading").append("fill", {"n": 3}).seq == 8


def test_a_disk_that_takes_half_a_line_is_told_and_leaves_none(tmp_path, monkeypatch):
    """A write cut short by a full disk is an error, and the half line is gone."""
    anchors = AnchorFile(tmp_path / "anchors.jsonl")
    anchors.append(Anchor("trading", 1, "a" * 64))
    before, write = anchors.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:20]))
    with pytest.raises(OSError, match="no room"):
        anchors.announce("trading", 2, "b" * 64)
    assert anchors.path.read_bytes() == before


def test_a_changed_record_is_not_read(home):
    """A body that was changed is not handed to recovery, whatever the anchors say; nor is a missing one."""
    home.sql("UPDATE records SET body = replace(body, '1.00', '0.00') WHERE seq = 3")
    with home.open() as journal:
        for kind in (None, "fill"):
            with pytest.raises(ChainBrokenError, match="record 3 of stream 'trading' was changed"):
                list(journal.records("trading", kind))
        home.sql("DELETE FROM records WHERE seq = 3")
        with pytest.raises(ChainBrokenError, match=r"record 4 .* does not follow record 2"):
            list(journal.records("trading"))
        assert [one.seq for one in journal.records("trading", after=3)] == [4, 5, 6]


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_journal_that_is_gone_is_not_begun_anew(home, left):
    """Opening a journal whose anchors name records does not make an empty one in its place."""
    for file in home.file.parent.glob("journal.db*"):
        file.unlink()
    if left != "nothing":
        home.file.touch()
    with pytest.raises(DamagedStoreError, match=r"journal\.db is gone or empty.*anchors.*'?trading"):
        home.open()
    assert not home.file.exists() or home.file.stat().st_size == 0
    assert not home.report().ok


@pytest.mark.parametrize("lost", ["every anchor", "the last anchors", "nothing, but records were added"])
def test_adopted_records_are_anchored_and_stay_marked(home, lost):
    """Who vouches for records is journaled with the reason, and verification names it ever after."""
    if lost == "every anchor":
        home.anchors.unlink()
    elif lost == "the last anchors":
        home.keep_anchors(4)
    else:
        home.forge()
    with home.open() as journal:
        record = journal.adopt("trading", "an operator", "the disk of the anchors was replaced")
        assert record.kind == "adoption"
        assert record.body["up_to"] == record.seq - 1
        assert journal.writer("trading").append("fill", {}).seq == record.seq + 1
    report = home.report()
    assert (report.ok, report.unanchored) == (True, 0)
    assert report.adopted == (
        f"records up to {record.seq - 1} adopted by an operator: the disk of the anchors was replaced",
    )
    home.sql("UPDATE records SET body = '{}' WHERE seq = 2")
    assert not home.report().ok


@pytest.mark.parametrize("damage", ["DELETE FROM records WHERE seq = 6", "UPDATE records SET hash = 'x'"])
def test_what_contradicts_an_anchor_cannot_be_adopted(home, damage):
    """A cut tail and a rewritten chain stay damage: nobody can vouch for them."""
    home.sql(damage)
    with home.open() as journal, pytest.raises(ChainBrokenError):
        journal.adopt("trading", "an operator", "why")
    assert not home.report().ok


def test_a_journal_is_verified_while_it_is_written(home, monkeypatch):
    """A batch that is committed between the reading of anchors and of records is no forgery."""
    from alphaloop.journal import verification

    with home.open() as journal, journal.writer("trading") as writer:
        read = verification.read_journal_records

        def written_meanwhile(url):
            writer.append("fill", {"n": 1})
            return read(url)

        monkeypatch.setattr(verification, "read_journal_records", written_meanwhile)
        assert (home.report().ok, home.report().records) == (True, 8)


def test_a_journal_in_a_folder_that_cannot_be_written_is_verified():
    """A user without the right to write verifies a journal, also one with a log beside its database.

    Without the right to read, it cannot be opened, which is no word on what it holds.
    """
    folder = Path(tempfile.mkdtemp(prefix="alphaloop-unwritable-"))
    try:
        home = Home(folder)
        _lock(folder, 0o444)
        assert _verified_by_nobody(home) == "True True 6"
        _unlock(folder)
        with home.open() as journal, journal.writer("trading") as writer:
            writer.append("fill", {})
            # A machine that stopped leaves the log, which holds the last records, without its index.
            log = (folder / "journal.db-wal").read_bytes()
        (folder / "journal.db-wal").write_bytes(log)
        _lock(folder, 0o444)
        assert _verified_by_nobody(home) == "True True 7"
        _lock(folder, 0o000)
        told = _verified_by_nobody(home)
        assert told.startswith("False False 0")
        assert "cannot be opened: Permission denied" in told
    finally:
        _unlock(folder)
        shutil.rmtree(folder)


def _lock(folder: Path, mode: int) -> None:
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(mode)
    folder.chmod(0o555)


def _unlock(folder: Path) -> None:
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _verified_by_nobody(home: Home) -> str:
    """What verification says to a user who may not write: `ok opened records problem`."""
    before, after = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(NOBODY, NOBODY, NOBODY)
            report = home.report()
            told = f"{report.ok} {report.opened} {report.records}"
            os.write(after, f"{told} {report.problem}".removesuffix(" None").encode())
        finally:
            os._exit(0)
    os.close(after)
    with os.fdopen(before) as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer
