"""The journal: what is appended is what is read, by one writer at a time, whole batches or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.clock import ReplayClock, SystemClock, monotonic
from alphaloop.errors import ChainBrokenError, DamagedStoreError, LeaseLostError, VendorError
from alphaloop.journal import tables
from alphaloop.journal.anchors import Anchor, AnchorFile
from alphaloop.journal.chain import GENESIS_HASH, chain_hash
from alphaloop.journal.record import canonical_json
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import verify_journal
from alphaloop.runtime.processes import child_environment

MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)


@pytest.fixture
def clock():
    return ReplayClock(MOMENT)


@pytest.fixture
def journal(tmp_path, clock):
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", clock) as opened:
        yield opened


def test_a_record_reads_back_as_it_was_appended(journal):
    """A record has its place, its time, its link to the one before, and Decimals and times as text."""
    writer = journal.writer("trading")
    writer.append("order", {"quantity": Decimal("1.50"), "at": MOMENT, "n": np.int64(3), "p": Path("a")})
    second = writer.append("fill", {"b": 1, "a": [None, True]})
    first, read = journal.records("trading")
    assert first.body == {"quantity": "1.50", "at": "2020-03-16T20:00:00+00:00", "n": 3, "p": "a"}
    assert (first.seq, first.previous, first.epoch, first.at) == (1, GENESIS_HASH, 1, MOMENT)
    assert read == second
    assert second.previous == first.hash
    given = ("trading", 2, MOMENT.isoformat(), "fill", 1, '{"a":[null,true],"b":1}', first.hash)
    assert second.hash == chain_hash(*given)


def test_reading_can_begin_after_a_record_and_keep_to_one_kind(journal, monkeypatch):
    """Records come in order across pages, from after a given one, and of one kind where asked."""
    monkeypatch.setattr("alphaloop.journal.store.PAGE_SIZE", 7)
    writer = journal.writer("trading")
    writer.append_many([("even" if n % 2 == 0 else "odd", {"n": n}) for n in range(1, 41)])
    assert [record.body["n"] for record in journal.records("trading")] == list(range(1, 41))
    assert [record.seq for record in journal.records("trading", after=35)] == [36, 37, 38, 39, 40]
    assert [record.seq for record in journal.records("trading", "odd", after=30)] == [31, 33, 35, 37, 39]
    assert list(journal.records("nothing")) == []
    assert journal.streams() == ["trading"]


def test_find_compares_whole_values_at_the_top_of_the_body(journal):
    """A nested field, a longer value or another case is not what was looked for."""
    writer = journal.writer("control")
    writer.append("request", {"inner": {"cause": "a"}, "cause": "A"})
    writer.append("request", {"cause": "ab"})
    writer.append("other", {"cause": "a"})
    wanted = writer.append("request", {"cause": "a", "share": Decimal("0.5"), "text": 'per%_"cent\\'})
    writer.append("request", {"cause": "a", "share": Decimal("0.5")})
    assert journal.find("control", "request", cause="a") == wanted
    assert journal.find("control", "request", cause="a", share=Decimal("0.5")) == wanted
    assert journal.find("control", "request", text='per%_"cent\\') == wanted
    assert journal.find("control", "request", cause="b") is None
    assert journal.find("trading", "request", cause="a") is None


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_canonical_text_does_not_depend_on_the_order_of_keys(value):
    """Two bodies that are equal have the same text, and the text is ASCII."""
    body = {"b": value, "a": 1}
    text = canonical_json(body)
    assert text == canonical_json(dict(reversed(body.items())))
    assert text.isascii()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_body_without_json_form_is_refused(journal, value):
    """NaN, infinity and objects are refused before anything is written."""
    writer = journal.writer("trading")
    with pytest.raises(ValueError, match="write None"):
        writer.append_many([("good", {}), ("bad", {"score": value})])
    with pytest.raises(TypeError, match="object"):
        writer.append("bad", {"thing": object()})
    assert list(journal.records("trading")) == []
    assert writer.append("good", {}).seq == 1


def test_framing_keeps_neighbouring_fields_apart():
    """Moving a character from one field to the next changes the hash."""
    assert chain_hash("ab", 1, "t", "c", 1, "{}", GENESIS_HASH) != chain_hash(
        "a", 1, "t", "bc", 1, "{}", GENESIS_HASH
    )


def test_a_second_writer_fences_the_first(journal):
    """Taking the stream over raises the epoch; the overtaken writer writes nothing, and is told so."""
    first = journal.writer("trading")
    first.append("a", {})
    second = journal.writer("trading")
    with pytest.raises(LeaseLostError, match="epoch 1"):
        first.append_many([("b", {}), ("c", {})])
    second.append("d", {})
    assert [(record.kind, record.epoch) for record in journal.records("trading")] == [("a", 1), ("d", 2)]
    journal.writer("control").append("e", {})
    assert second.append("f", {}).seq == 3


def test_two_processes_worth_of_journals_fence_each_other(tmp_path, clock):
    """The fence holds between two openings of the same file, and streams do not disturb each other."""
    file, anchors = tmp_path / "journal.db", tmp_path / "anchors.jsonl"
    with Journal(file, anchors, clock) as one, Journal(file, anchors, clock) as two:
        here, there = one.writer("trading"), two.writer("control")
        for number in range(5):
            here.append("a", {"n": number})
            there.append("b", {"n": number})
        taken = two.writer("trading")
        with pytest.raises(LeaseLostError):
            here.append("a", {})
        taken.append("a", {"n": 5})
    assert [(report.stream, report.records, report.ok) for report in verify_journal(file, anchors)] == [
        ("control", 5, True),
        ("trading", 6, True),
    ]


def test_the_epoch_stays_above_every_record_even_if_the_leases_are_lost(journal, tmp_path, clock):
    """A new writer's epoch is above that of every record, whatever became of the table of leases."""
    journal.writer("trading")
    journal.writer("trading").append("a", {})
    with tables.open_engine(tables.database_url(tmp_path / "journal.db")).begin() as connection:
        connection.execute(tables.leases.delete())
    writer = journal.writer("trading")
    assert writer.epoch == 3
    assert writer.append("b", {}).epoch == 3


def test_a_closed_writer_writes_nothing(journal):
    """After `close`, appending is an error and not a silent loss; an empty batch is nothing at all."""
    with journal.writer("trading") as writer:
        assert writer.append_many([]) == []
    with pytest.raises(LeaseLostError, match="closed"):
        writer.append("a", {})


def test_a_database_that_cannot_take_a_batch_says_so(journal, tmp_path, monkeypatch):
    """A vendor's error is translated, and the next append continues the chain where it stood."""
    writer = journal.writer("trading")
    writer.append("a", {})
    engine = tables.open_engine(tables.database_url(tmp_path / "journal.db"))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE records RENAME TO hidden")
    with pytest.raises(VendorError, match="1 records"):
        writer.append("b", {})
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO records")
    engine.dispose()
    assert writer.append("b", {}).seq == 2


def test_a_writer_refuses_a_stream_that_lost_what_was_anchored(journal, tmp_path, clock):
    """Opening for writing does not paper over a cut tail, an edited record or a broken link."""
    writer = journal.writer("trading")
    writer.append("a", {})
    writer.append("b", {})
    engine = tables.open_engine(tables.database_url(tmp_path / "journal.db"))
    with engine.begin() as connection:
        connection.execute(tables.records.delete().where(tables.records.c.seq == 2))
    with pytest.raises(ChainBrokenError, match="record 2"):
        journal.writer("trading")
    with engine.begin() as connection:
        row = {"stream": "other", "seq": 1, "at": MOMENT.isoformat(), "kind": "a", "epoch": 1}
        connection.execute(
            tables.records.insert().values(**row, body="{}", previous=GENESIS_HASH, hash="0" * 64)
        )
    engine.dispose()
    with pytest.raises(ChainBrokenError, match="record 1 breaks"):
        journal.writer("other")


def test_an_unreadable_record_is_named(journal, tmp_path):
    """Reading a record whose body is no JSON names the record and the command that says more."""
    journal.writer("trading").append("a", {})
    engine = tables.open_engine(tables.database_url(tmp_path / "journal.db"))
    with engine.begin() as connection:
        connection.execute(tables.records.update().values(body="{"))
    engine.dispose()
    with pytest.raises(ChainBrokenError, match="record 1 of stream 'trading'"):
        list(journal.records("trading"))


def test_a_file_that_is_no_journal_is_refused_in_one_line(tmp_path, clock):
    """A damaged database is an input error naming the file, not a vendor's traceback."""
    (tmp_path / "journal.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(DamagedStoreError, match=r"journal\.db") as caught:
        Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", clock)
    assert "\n" not in str(caught.value)


def test_damage_found_while_reading_or_writing_is_translated(tmp_path, clock):
    """A database damaged after it was opened raises `DamagedStoreError` from readers and new writers."""
    file = tmp_path / "journal.db"
    with Journal(file, tmp_path / "anchors.jsonl", clock) as journal:
        journal.writer("trading").append("a", {"text": "x" * 20_000})
    raw = bytearray(file.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    with Journal(file, tmp_path / "anchors.jsonl", clock) as journal:
        file.write_bytes(raw)
        journal.close()
        with pytest.raises(DamagedStoreError):
            list(journal.records("trading"))
        with pytest.raises(DamagedStoreError):
            journal.writer("control")


def test_the_migrations_end_where_the_tables_stand(tmp_path, journal):
    """The newest migration is the revision the code expects, and makes the very tables it uses."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.CURRENT_REVISION]
    engine = tables.open_engine(tables.database_url(tmp_path / "journal.db"))
    inspector = sa.inspect(engine)
    for table in tables.metadata.sorted_tables:
        assert [column["name"] for column in inspector.get_columns(table.name)] == table.columns.keys()
        assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [
            column.name for column in table.primary_key
        ]
    assert [index["name"] for index in inspector.get_indexes("records")] == ["records_by_kind"]
    engine.dispose()


def test_a_journal_of_an_unknown_revision_is_refused(tmp_path, clock, journal):
    """A journal made by a newer version is an input error that says so, and is left as it was."""
    engine = tables.open_engine(tables.database_url(tmp_path / "journal.db"))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(DamagedStoreError, match="9999"):
        Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", clock)


def test_a_journal_can_be_given_as_a_url(tmp_path, clock):
    """A database URL opens the same journal as its file does."""
    file, anchors = tmp_path / "journal.db", tmp_path / "anchors.jsonl"
    with Journal(f"sqlite:///{file}", anchors, clock) as journal:
        journal.writer("trading").append("a", {})
    assert verify_journal(f"sqlite:///{file}", anchors)[0].ok


def test_forty_five_records_are_appended_in_six_milliseconds(tmp_path, untraced):
    """A bar's worth of records, about 10 KB, is committed and anchored within 6 ms (fastest of 40)."""
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock()) as journal:
        writer = journal.writer("trading")
        batch = [("fill", {"number": number, "text": "x" * 180}) for number in range(45)]
        seconds = []
        for _ in range(40):
            started = monotonic()
            writer.append_many(batch)
            seconds.append(monotonic() - started)
    # The slow ones are those in which other processes had the core or the disk.
    assert min(seconds) < 0.006


def test_an_unfinished_anchor_is_not_read_and_is_cut_off_by_the_next(tmp_path):
    """A line that a crash left without its end neither counts nor damages the lines after it."""
    anchors = AnchorFile(tmp_path / "anchors.jsonl")
    assert anchors.read() == []
    anchors.append(Anchor("trading", 1, "a" * 64))
    with anchors.path.open("ab") as file:
        file.write(b'{"hash": "bb')
    assert [anchor.seq for anchor in anchors.read()] == [1]
    anchors.append(Anchor("trading", 3, "c" * 64))
    assert [anchor.seq for anchor in anchors.read()] == [1, 3]
    assert anchors.last("trading") == Anchor("trading", 3, "c" * 64)
    assert anchors.last("control") is None


@pytest.mark.parametrize("line", ["{", "[]", '{"stream": 1, "seq": "2", "hash": null}', '{"seq": 1}'])
def test_a_damaged_anchor_names_its_line(tmp_path, line):
    """A line that is no anchor is an error that names file and line."""
    anchors = AnchorFile(tmp_path / "anchors.jsonl")
    anchors.append(Anchor("trading", 1, "a" * 64))
    with anchors.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DamagedStoreError, match="line 2"):
        anchors.read()


CHILD = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from alphaloop.clock import SystemClock
from alphaloop.journal.anchors import AnchorFile
from alphaloop.journal.store import Journal

folder, moment = Path(sys.argv[1]), sys.argv[2]
journal = Journal(folder / "journal.db", folder / "anchors.jsonl", SystemClock())
writer = journal.writer("trading")
batch = [("fill", {"number": number, "text": "x" * 500}) for number in range(40)]
writer.append_many(batch)
writer.append_many(batch)
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "before commit":
    event.listen(journal._engine, "commit", die)
elif moment == "before anchor":
    AnchorFile.append = die
print("writing", flush=True)
while True:
    writer.append_many(batch)
"""


def _killed_child(folder: Path, moment: str, seconds: float | None = None) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), moment], stdout=subprocess.PIPE, env=child_environment()
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child.pid, signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize(
    ("moment", "records"), [("before commit", 80), ("before anchor", 120)], ids=["commit", "anchor"]
)
def test_a_kill_around_the_commit_leaves_whole_batches(tmp_path, clock, moment, records):
    """Killed before the commit a batch is not there; killed before its anchor it is, and verifies.

    The next writer goes on behind it and anchors its own batch alone.
    """
    _killed_child(tmp_path, moment)
    (report,) = verify_journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl")
    assert (report.records, report.ok) == (records, True)
    clock.advance(MOMENT + timedelta(days=10_000))
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", clock) as journal:
        assert journal.writer("trading").append("a", {}).seq == records + 1
    demanded = [one.seq for one in AnchorFile(tmp_path / "anchors.jsonl").of("trading").required]
    assert demanded == [0, 40, 80, records + 1]
    assert verify_journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl")[0].ok


@pytest.mark.parametrize("seconds", [0.01, 0.0437, 0.1])
def test_a_kill_at_any_moment_leaves_whole_batches(tmp_path, seconds):
    """However a writer dies, the journal holds whole batches only, and verifies."""
    _killed_child(tmp_path, "any", seconds)
    (report,) = verify_journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl")
    assert report.ok
    assert report.records >= 80
    assert report.records % 40 == 0


def test_processes_that_open_a_fresh_journal_at_once_all_succeed(tmp_path):
    """The first migration is run by one of them, and each then writes its own stream."""
    code = (
        "import sys; from pathlib import Path; from alphaloop.clock import SystemClock\n"
        "from alphaloop.journal.store import Journal\n"
        "folder = Path(sys.argv[1])\n"
        "with Journal(folder / 'journal.db', folder / 'anchors.jsonl', SystemClock()) as journal:\n"
        "    journal.writer(sys.argv[2]).append('a', {})\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], env=child_environment())
        for name in ("one", "two", "three")
    ]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    reports = verify_journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl")
    assert [(report.stream, report.ok) for report in reports] == [
        ("one", True),
        ("three", True),
        ("two", True),
    ]
