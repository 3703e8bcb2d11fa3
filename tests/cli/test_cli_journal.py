"""The verbs of the journal: migration, copies, restoration, normal form; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import LeaseLostError
from alphaloop.journal import tables
from alphaloop.journal.anchors import AnchorFile
from alphaloop.journal.opening import configured_database, open_journal
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import RolloutDocument
from alphaloop.settings.settings import Settings, load_settings
from cli.main import run_command


@pytest.fixture(params=["sqlite", "postgresql"])
def chosen(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a workspace whose journal is a file, or a database of a server."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    if request.param == "postgresql":
        monkeypatch.setenv("ALPHALOOP_JOURNAL__URL", request.getfixturevalue("postgres").database())
    monkeypatch.setenv("ALPHALOOP_JOURNAL__LEASE_SECONDS", "1")
    return load_settings()


@pytest.fixture
def journal(chosen: Settings) -> Iterator[Journal]:
    with open_journal(chosen, SystemClock()) as opened:
        yield opened


def numbers(journal: Journal, stream: str = "requests") -> list[int]:
    return [record.body["n"] for record in journal.records(stream)]


def test_migrate_says_what_it_did_and_may_be_repeated(chosen, capsys):
    """A new journal is created, one of before is brought to this release, and after that nothing is to do."""
    assert run_command(["journal", "migrate"]) == 0
    assert f"was created, at revision {tables.CURRENT_REVISION}" in capsys.readouterr().out.replace("\n", " ")
    engine = tables.open_engine(tables.database_url(configured_database(chosen)))
    with engine.begin() as connection:
        for table in ("unique_keys", "rollout_documents", "source_heads"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0002'")
    engine.dispose()
    for before in ("0002", tables.CURRENT_REVISION):
        assert run_command(["journal", "migrate", "--json"]) == 0
        done = json.loads(capsys.readouterr().out)
        assert (done["before"], done["after"]) == (before, tables.CURRENT_REVISION)


def test_a_copy_is_taken_while_others_write_and_is_put_back(chosen, journal, tmp_path, capsys):
    """The copy is whole although appends go on, and a journal that is lost is what the copy holds."""
    for n in range(20):
        journal.append("requests", "promote", {"n": n})
    ended = threading.Event()

    def write() -> None:
        n = 20
        while not ended.is_set():
            journal.append("requests", "promote", {"n": n})
            n += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        copies = [tmp_path / f"copy-{number}.db" for number in range(5)]
        codes = [run_command(["journal", "backup", str(copy)]) for copy in copies]
    finally:
        ended.set()
        writing.join()
    assert codes == [0] * 5
    written = numbers(journal)
    with Journal(copies[0], tmp_path / "none.jsonl", SystemClock()) as copy:
        assert numbers(copy) == written[: len(numbers(copy))]
        assert len(numbers(copy)) >= 20
    last = tmp_path / "last.db"
    assert run_command(["journal", "backup", str(last)]) == 0
    assert not list(tmp_path.glob("last.db?*"))
    engine = journal._engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM records")
    assert run_command(["audit", "verify"]) == 1
    assert run_command(["journal", "restore", str(last)]) == 0
    assert run_command(["audit", "verify"]) == 0
    assert numbers(journal) == written
    assert journal.append("requests", "promote", {"n": -1}).seq == len(written) + 1


def test_a_copy_older_than_the_anchors_is_refused_unless_that_is_said(chosen, journal, tmp_path, capsys):
    """What the copy lacks is named in one line; with the option it is given up, and all goes on."""
    journal.append("requests", "promote", {"n": 1})
    writer = journal.writer("trading")
    writer.append("order", {"n": 1})
    copy = tmp_path / "copy.db"
    assert run_command(["journal", "backup", str(copy)]) == 0
    journal.append("requests", "promote", {"n": 2})
    capsys.readouterr()
    assert run_command(["journal", "restore", str(copy)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "record 2 of stream 'requests' was written, and the copy has 1" in line
    assert "--older-than-anchors" in line
    assert numbers(journal) == [1, 2]
    assert run_command(["journal", "restore", str(copy), "--older-than-anchors", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["kept_anchors"]
    assert AnchorFile(Path(kept)).last("requests").seq == 2
    assert run_command(["audit", "verify"]) == 0
    assert journal.append("requests", "promote", {"n": 3}).seq == 2
    assert numbers(journal) == [1, 3]
    # A writer of before does not go on behind records that are gone.
    with pytest.raises(LeaseLostError):
        writer.append("order", {"n": 2})


def test_a_copy_that_was_changed_is_not_put_back(chosen, journal, tmp_path, capsys):
    """A changed record is found before the journal is touched."""
    journal.append("requests", "promote", {"n": 1})
    copy = tmp_path / "copy.db"
    assert run_command(["journal", "backup", str(copy)]) == 0
    engine = tables.open_engine(tables.database_url(copy))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE records SET body = '{\"n\":7}'")
    engine.dispose()
    capsys.readouterr()
    assert run_command(["journal", "restore", str(copy)]) == 1
    assert "record 1 was changed" in capsys.readouterr().err
    assert numbers(journal) == [1]


def test_no_copy_is_put_back_under_a_process_at_work(chosen, journal, tmp_path, capsys):
    """A role whose holder counts on is named; one whose holder is silent for a lease is no hindrance."""
    journal.append("requests", "promote", {"n": 1})
    copy = tmp_path / "copy.db"
    assert run_command(["journal", "backup", str(copy)]) == 0
    role = journal.take_role("runner", holder="another-host:7#1.2")
    capsys.readouterr()
    assert run_command(["journal", "restore", str(copy)]) == 1
    assert "role 'runner' is held by another-host:7" in capsys.readouterr().err
    role._ended.set()
    assert run_command(["journal", "restore", str(copy)]) == 0


def test_a_copy_is_never_written_over(chosen, journal, tmp_path, capsys):
    """A file that is there, and a file that is not, are refused in one line."""
    (tmp_path / "copy.db").write_text("mine")
    assert run_command(["journal", "backup", str(tmp_path / "copy.db")]) == 2
    assert "is there already; name a new file" in capsys.readouterr().err
    assert run_command(["journal", "restore", str(tmp_path / "none.db")]) == 2
    assert "none.db is no file" in capsys.readouterr().err


def test_the_rollout_documents_are_part_of_the_copy(chosen, journal, tmp_path):
    """A restored journal says who answers, as it did when the copy was taken."""
    first = RolloutDocument(model="equities", champion="1")
    with journal.take_role("control/equities") as role:
        journal.publish_document(first, None, [("rollout.transition", {"n": 1})], role)
    copy = tmp_path / "copy.db"
    assert run_command(["journal", "backup", str(copy)]) == 0
    with journal._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM rollout_documents")
    assert journal.documents.read("equities") is None
    assert run_command(["journal", "restore", str(copy)]) == 0
    assert journal.documents.read("equities") == first


def test_two_runs_of_the_same_decisions_have_one_normal_form(chosen, journal, capsys):
    """Times, chain, random ids and takeovers are left out at every depth; what was decided is not."""
    answer = {"scores": [0.5], "prediction_ids": {"core": "random"}, "latency_ms": 3.1}
    for stream, ids in (("trading", "a"), ("again", "b")):
        if stream == "again":
            journal.append(stream, "session", {"first": None})
        body = {"n": 1, "answers": [answer | {"prediction_ids": {"core": ids}}]}
        journal.append(stream, "decision", body)
        journal.append(stream, "order", {"quantity": "2"})
    shown = []
    for stream in ("trading", "again"):
        assert run_command(["audit", "normal-form", stream]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert [json.loads(line) for line in shown[0].splitlines()] == [
        {"kind": "decision", "body": {"n": 1, "answers": [{"scores": [0.5]}]}},
        {"kind": "order", "body": {"quantity": "2"}},
    ]
    assert run_command(["audit", "normal-form", "tradin"]) == 2
    assert "unknown stream 'tradin'" in capsys.readouterr().err
