"""Roles and appends, on SQLite and PostgreSQL: who may write, who waits, and what is never written twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alphaloop.clock import ReplayClock, boot_time
from alphaloop.errors import InputError, LeaseLostError, RoleHeldError, VendorError
from alphaloop.journal import holder, tables
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import verify_journal
from alphaloop.runtime.processes import child_environment

MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)
ELSEWHERE = "another-host:7#1.2"
LEASE = 1.0

Open = Callable[[], Journal]

CHILD = """
import sys
from pathlib import Path
from alphaloop.clock import SystemClock
from alphaloop.journal.store import Journal
with Journal(sys.argv[1], Path(sys.argv[2]), SystemClock()) as journal:
    for number in range(int(sys.argv[3])):
        journal.append("requests", "request", {"by": sys.argv[4], "number": number})
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh journal's place: a file, or a database of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    return tmp_path / "anchors.jsonl"


@pytest.fixture
def open_one(place: str, anchors: Path) -> Iterator[Open]:
    """Opens the journal, as another process would; every one is closed at the end."""
    opened: list[Journal] = []

    def make() -> Journal:
        opened.append(Journal(place, anchors, ReplayClock(MOMENT), lease_seconds=LEASE))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


def test_appends_of_many_processes_stand_in_one_chain(place: str, anchors: Path) -> None:
    """Processes that open a fresh journal at once and append to one stream lose and double nothing."""
    command = [sys.executable, "-c", CHILD, place, str(anchors)]
    children = [
        subprocess.Popen([*command, "5", str(number)], env=child_environment()) for number in range(6)
    ]
    assert [child.wait(60) for child in children] == [0] * 6
    with Journal(place, anchors, ReplayClock(MOMENT)) as journal:
        found = [(record.body["by"], record.body["number"]) for record in journal.records("requests")]
    assert sorted(found) == [(str(by), number) for by in range(6) for number in range(5)]
    assert all(chain.ok for chain in verify_journal(place, anchors))


def test_an_append_that_is_unique_is_written_once(open_one: Open) -> None:
    """The record that is there already is the answer, by kind and by the whole value of the field."""
    journal = open_one()
    first = journal.append("requests", "retrain", {"cause_id": "ab", "n": 1}, unique="cause_id")
    again = journal.append("requests", "retrain", {"cause_id": "ab", "n": 2}, unique="cause_id")
    other = journal.append("requests", "promote", {"cause_id": "ab"}, unique="cause_id")
    longer = journal.append("requests", "retrain", {"cause_id": "abc"}, unique="cause_id")
    assert (again, again.body["n"]) == (first, 1)
    assert [record.seq for record in (first, other, longer)] == [1, 2, 3]
    assert list(journal.records("requests")) == [first, other, longer]


def test_an_append_fences_nobody(open_one: Open) -> None:
    """A role's writer goes on after others have appended to streams of their own."""
    journal = open_one()
    with journal.take_role("executor/trading") as role:
        writer = journal.writer("trading", role)
        writer.append("order", {})
        open_one().append("requests", "promote", {})
        assert writer.append("order", {}).seq == 2


def test_a_stream_of_a_role_takes_no_append(open_one: Open) -> None:
    """Who has something to say to a role says it on another stream."""
    journal = open_one()
    with journal.take_role("executor/trading") as role:
        journal.writer("trading", role).append("order", {})
    with pytest.raises(InputError, match="stream 'trading' is written by role 'executor/trading' alone"):
        journal.append("trading", "order", {})
    assert len(list(journal.records("trading"))) == 1


def test_a_working_holder_is_not_fenced(open_one: Open) -> None:
    """A second process neither takes the role nor the stream, and hears who has it; the first goes on."""
    journal = open_one()
    role = journal.take_role("executor/trading", holder=ELSEWHERE)
    writer = journal.writer("trading", role)
    with pytest.raises(RoleHeldError, match="role 'executor/trading' is held by another-host:7"):
        open_one().take_role("executor/trading", wait=1.5 * LEASE)
    with pytest.raises(
        RoleHeldError, match="stream 'trading' is written by role 'executor/trading', which an"
    ):
        open_one().writer("trading")
    assert writer.append("order", {}).seq == 1
    role.release()


def test_a_role_that_is_given_back_is_taken_at_once(open_one: Open) -> None:
    """A standby waits no lease for a holder that said that it ends; the token grows."""
    role = open_one().take_role("runner", holder=ELSEWHERE)
    waiting: list[tuple[float, int]] = []

    def stand_by() -> None:
        with open_one().take_role("runner", wait=30) as taken:
            waiting.append((boot_time(), taken.token))

    standby = threading.Thread(target=stand_by)
    standby.start()
    time.sleep(0.2)
    released = boot_time()
    role.release()
    standby.join()
    ((taken_at, token),) = waiting
    assert token == role.token + 1
    assert taken_at - released < LEASE


def test_a_silent_holder_loses_the_role_and_writes_nothing_when_it_wakes(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiter takes over once the counter stood still for a lease; the first is told, and writes no more."""
    journal = open_one()
    role = journal.take_role("executor/trading", holder=ELSEWHERE)
    writer = journal.writer("trading", role)
    writer.append("order", {"n": 1})
    # As if its process were stopped: no heartbeat any more.
    monkeypatch.setattr(role, "renew", lambda: None)
    began = boot_time()
    with open_one().take_role("executor/trading", wait=5 * LEASE) as successor:
        assert boot_time() - began >= LEASE
        assert role.seconds_left() <= 0
        with pytest.raises(LeaseLostError, match="was taken over by"):
            writer.append("order", {"n": 2})
        assert role.is_lost
        after = open_one().writer("trading", successor)
        assert after.append("order", {"n": 3}).seq == 2
        with pytest.raises(LeaseLostError):
            writer.append("order", {"n": 4})
    assert [record.body["n"] for record in journal.records("trading")] == [1, 3]


def test_two_who_wait_for_one_role_do_not_both_get_it(open_one: Open) -> None:
    """The update names token and counter as they were seen, so that one of two takers changes nothing."""
    journal = open_one()
    silent = journal.take_role("runner", holder=ELSEWHERE)
    silent._ended.set()
    got: list[Any] = []

    def wait(name: str) -> None:
        try:
            got.append(open_one().take_role("runner", holder=name, wait=2.5 * LEASE))
        except RoleHeldError as error:
            got.append(error)

    waiting = [threading.Thread(target=wait, args=(f"host-{n}:1#1.1",)) for n in range(3)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert sorted(isinstance(one, RoleHeldError) for one in got) == [False, True, True]
    next(one for one in got if not isinstance(one, RoleHeldError)).release()


def test_a_holder_that_died_here_is_noticed_at_once(open_one: Open) -> None:
    """On its own machine a process that is gone is known to be gone: its successor waits no lease."""
    place = holder.this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    dead = f"{place.partition(':')[0]}:{child.pid}#{place.partition('#')[2]}1"
    open_one().take_role("runner", holder=dead)._ended.set()
    began = boot_time()
    open_one().take_role("runner", wait=0).release()
    assert boot_time() - began < LEASE / 2


def test_a_commit_whose_answer_is_lost_is_looked_up(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that the database took counts, though its answer did not come; it is not written again."""
    journal = open_one()
    writer, dialect = journal.writer("trading"), journal._engine.dialect

    def commit_and_lose(connection: Any) -> None:
        monkeypatch.undo()
        connection.commit()
        raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose)
    assert writer.append("order", {"n": 1}).seq == 1
    assert writer.append("order", {"n": 2}).seq == 2
    assert [record.body["n"] for record in journal.records("trading")] == [1, 2]


def test_a_batch_that_was_not_taken_is_an_error_and_leaves_the_writer_at_work(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lookup does not find the record, the batch was lost: the caller is told and may repeat it."""
    journal = open_one()
    writer, dialect = journal.writer("trading"), journal._engine.dialect

    def refuse(connection: Any) -> None:
        monkeypatch.undo()
        raise dialect.loaded_dbapi.OperationalError("no space left")

    monkeypatch.setattr(dialect, "do_commit", refuse)
    with pytest.raises(VendorError, match=r"could not take 1 records: .*no space left"):
        writer.append("order", {"n": 1})
    assert writer.append("order", {"n": 1}).seq == 1
    assert len(list(journal.records("trading"))) == 1


def test_an_append_that_is_repeated_after_a_lost_answer_is_not_written_twice(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lookup fails as well, the batch stays in doubt, and its repetition finds it there."""
    journal = open_one()
    journal.append("requests", "promote", {"n": 0})
    dialect = journal._engine.dialect
    lost = dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    def commit_and_lose(connection: Any) -> None:
        monkeypatch.undo()
        connection.commit()

        def unreachable(*_: Any) -> None:
            raise lost

        monkeypatch.setattr(dialect, "do_execute", unreachable)
        raise lost

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose)
    with pytest.raises(VendorError, match="could not take 1 records"):
        journal.append("requests", "promote", {"n": 1})
    with pytest.raises(VendorError, match="could not take 1 records"):
        journal.append("requests", "promote", {"n": 1})
    monkeypatch.undo()
    open_one().append("requests", "abort", {"n": 2})
    assert journal.append("requests", "promote", {"n": 1}).seq == 2
    assert journal.append("requests", "promote", {"n": 1}).seq == 4
    assert [record.body["n"] for record in journal.records("requests")] == [0, 1, 2, 1]


def test_nobody_takes_a_role_over_between_its_check_and_the_commit(request: pytest.FixtureRequest) -> None:
    """On PostgreSQL the check holds the row of the role until the batch is committed."""
    place = str(request.getfixturevalue("postgres").database())
    anchors = request.getfixturevalue("anchors")
    with (
        Journal(place, anchors, ReplayClock(MOMENT)) as journal,
        journal.take_role("runner") as role,
        journal._engine.begin() as checking,
        journal._engine.connect() as taking,
    ):
        role.require(checking)
        taking.exec_driver_sql("SET lock_timeout = '100ms'")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            taking.execute(tables.roles.update().values(token=tables.roles.c.token + 1))


def test_a_journal_of_before_has_streams_that_belong_to_nobody(tmp_path: Path, anchors: Path) -> None:
    """A journal of the first revision is migrated, and its stream is read and written as before."""
    file = tmp_path / "old.db"
    with Journal(file, anchors, ReplayClock(MOMENT)) as journal:
        journal.writer("trading").append("order", {"n": 1})
    engine = tables.open_engine(tables.database_url(file))
    with engine.begin() as connection:
        for table in ("roles", "bar_progress", "unique_keys", "rollout_documents", "source_heads"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("ALTER TABLE leases DROP COLUMN role")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    engine.dispose()
    with (
        Journal(file, anchors, ReplayClock(MOMENT)) as journal,
        journal.take_role("executor/trading") as role,
    ):
        assert journal.writer("trading", role).append("order", {"n": 2}).seq == 2
        assert [record.body["n"] for record in journal.records("trading")] == [1, 2]
    assert all(chain.ok for chain in verify_journal(file, anchors))
