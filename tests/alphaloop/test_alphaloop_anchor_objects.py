"""Anchors in a bucket: they cannot be replaced, a missing one is found, and an absence is survived."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from alphaloop.clock import ReplayClock
from alphaloop.errors import ChainBrokenError, SettingsError, VendorError
from alphaloop.journal.anchors import Anchor
from alphaloop.journal.bucket.anchor_objects import AnchorObjects
from alphaloop.journal.chain import GENESIS_HASH
from alphaloop.journal.opening import open_journal, verify_configured_journal
from alphaloop.journal.store import Journal
from alphaloop.journal.tables import open_engine, records
from alphaloop.journal.verification import verify_journal
from alphaloop.journal.writer import chained_rows
from alphaloop.settings.settings import Settings, load_settings
from alphaloop.storage.s3_store import S3Store
from tests.postgres import PostgresServer

MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)
NEVER = 3_600.0


class UnreliableBucket(S3Store):
    """A bucket that is away while a test wants it."""

    is_away = False

    def _ask(self, doing: str, name: str, request: Callable[[], Any], *rest: Any, **named: Any) -> Any:
        if self.is_away:
            raise VendorError(f"{self.address(name)} cannot be {doing}: nobody answers")
        return super()._ask(doing, name, request, *rest, **named)


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def machine(folder: Path, database: Path | str, bucket: S3Store, **bounds: Any) -> Journal:
    """A journal as a process on a machine of its own opens it."""
    (folder / "disk").mkdir(parents=True, exist_ok=True)
    anchors = AnchorObjects(bucket, folder / "disk" / "anchors.jsonl", **bounds)
    return Journal(database, anchors, ReplayClock(MOMENT))


def test_a_thread_anchors_each_stream_and_the_newest_anchor_lists_first(tmp_path: Path, bucket: str) -> None:
    """Heads are in the bucket within the seconds allowed, or once so many records wait, and at the end."""
    store = S3Store(f"{bucket}/anchors")
    with machine(tmp_path, tmp_path / "journal.db", store, seconds=0.2) as journal:
        writer = journal.writer("trading/desk")
        record = writer.append_many([("note", {"text": str(number)}) for number in range(3)])[-1]
        eventually(lambda: len(store.names()) == 2)
        first = store.names("trading%2Fdesk/", limit=1)[0]
        assert first == f"trading%2Fdesk/{10**18 - 3:018d}"
        fields = AnchorObjects(store, tmp_path / "none").read()[-1]
        assert (fields.stream, fields.seq, fields.hash) == ("trading/desk", 3, record.hash)
        assert fields.token == writer.epoch
        eventually(lambda: journal.unanchored_seconds == 0.0)
    with machine(tmp_path, tmp_path / "journal.db", store, seconds=NEVER, records=5) as journal:
        writer = journal.writer("trading/desk")
        for number in range(5):
            writer.append("note", {"number": number})
        eventually(lambda: f"trading%2Fdesk/{10**18 - 8:018d}" in store.names())
        writer.append("note", {"text": "last"})
    assert store.names()[0] == f"trading%2Fdesk/{10**18 - 9:018d}"


def test_an_anchor_cannot_be_replaced_and_another_record_under_its_number_is_a_broken_chain(
    tmp_path: Path, bucket: str
) -> None:
    """The bucket answers 412; equal bytes are the writer's own, another head stops the writer."""
    store = S3Store(bucket)
    own = AnchorObjects(store, tmp_path / "own.jsonl", seconds=0.05)
    for seq, digest in ((0, GENESIS_HASH), (1, "a" * 64)):
        own.append(Anchor("trading", seq, digest, token=1))
        eventually(lambda: own.unanchored_seconds == 0.0)
    (name, _) = store.names("trading/")
    content = store.read(name)
    assert not store.create(name, b"forged") and store.read(name) == content
    repeated = AnchorObjects(store, tmp_path / "repeated.jsonl", seconds=0.05)
    repeated.append(Anchor("trading", 1, "a" * 64, token=1))
    eventually(lambda: repeated.unanchored_seconds == 0.0)
    other = AnchorObjects(store, tmp_path / "other.jsonl", seconds=0.05)
    other.append(Anchor("trading", 1, "b" * 64, token=1))

    def refused() -> bool:
        try:
            other.announce("trading", 2, "c" * 64)
        except ChainBrokenError as error:
            return "anchors another record 1" in str(error)
        return False

    eventually(refused)
    assert store.read(name) == content
    for one in (own, repeated, other):
        one.close()


def test_a_deleted_or_replaced_anchor_is_found(tmp_path: Path, bucket: str) -> None:
    """Each anchor names the one before with its digest, so that a missing one is reported by its number."""
    store, database = S3Store(bucket), tmp_path / "journal.db"
    for _ in range(3):
        with machine(tmp_path, database, store) as journal:
            journal.append("requests", "note", {"text": "hello"})
    elsewhere = AnchorObjects(S3Store(bucket), tmp_path / "nothing.jsonl")
    assert [report.ok for report in verify_journal(database, elsewhere)] == [True]
    name = f"requests/{10**18 - 2:018d}"
    content = store.read(name)
    store.delete(name)
    (report,) = verify_journal(database, elsewhere)
    assert not report.ok and "the anchor of record 2 of stream 'requests' is gone" in str(report.problem)
    store.create(name, content.replace(b'"token": ', b'"token": 9'))
    (report,) = verify_journal(database, elsewhere)
    assert not report.ok and "the anchor of record 2 of stream 'requests' was replaced" in str(report.problem)
    store.replace(name, b"{}")
    (report,) = verify_journal(database, elsewhere)
    assert not report.ok and "is no anchor" in str(report.problem)
    store.replace(name, content)
    assert [report.ok for report in verify_journal(database, elsewhere)] == [True]


def test_a_forged_chain_is_found_from_a_machine_that_holds_nothing(
    tmp_path: Path, bucket: str, postgres: PostgresServer
) -> None:
    """Whoever owns the database rewrites a whole stream; database and bucket alone show it."""
    sections = {"url": postgres.database(), "anchors": f"{bucket}/anchors"}
    settings = Settings(home=tmp_path / "trader", journal=sections)
    with open_journal(settings, ReplayClock(MOMENT)) as journal, journal.writer("trading") as writer:
        for number in range(4):
            writer.append("order", {"quantity": number})
        token = writer.epoch
    shutil.rmtree(tmp_path / "trader")
    auditor = Settings(home=tmp_path / "auditor", journal=sections)
    assert [report.ok for report in verify_configured_journal(auditor)] == [True]
    forged = [("order", {"quantity": 100 + number}) for number in range(4)]
    rows = chained_rows("trading", 0, GENESIS_HASH, token, MOMENT.isoformat(), forged)
    engine = open_engine(sa.make_url(sections["url"]).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.delete(records).where(records.c.stream == "trading"))
        connection.execute(records.insert(), rows)
    engine.dispose()
    (report,) = verify_configured_journal(auditor)
    assert not report.ok and "record 4 is not the one anchored" in str(report.problem)


def test_with_the_bucket_away_records_go_on_up_to_a_bound_and_are_anchored_afterwards(
    tmp_path: Path, bucket: str
) -> None:
    """Beyond the bound nothing is recorded; once the bucket is back, the writer anchors its own heads."""
    store, bounds = UnreliableBucket(bucket), {"seconds": 0.05, "unanchored_seconds": 0.5}
    with machine(tmp_path, tmp_path / "journal.db", store, **bounds) as journal:
        writer = journal.writer("trading")
        writer.append("note", {"number": 1})
        eventually(lambda: journal.unanchored_seconds == 0.0)
        store.is_away = True
        writer.append("note", {"number": 2})
        eventually(lambda: journal.unanchored_seconds > 0.5)
        with pytest.raises(VendorError, match=r"no anchor could be written there.*nobody answers"):
            writer.append("note", {"number": 3})
        assert [record.body["number"] for record in journal.records("trading")] == [1, 2]
        store.is_away = False
        eventually(lambda: journal.unanchored_seconds == 0.0)
        writer.append("note", {"number": 3})
    elsewhere = AnchorObjects(S3Store(bucket), tmp_path / "nothing.jsonl")
    assert [report.ok for report in verify_journal(tmp_path / "journal.db", elsewhere)] == [True]


def test_a_successor_heals_what_a_killed_writer_leaves_and_nothing_beyond(
    tmp_path: Path, bucket: str
) -> None:
    """A few recent records without anchors are continued; more than the bound needs a person's word."""
    store, database = UnreliableBucket(bucket), tmp_path / "journal.db"
    bounds = {"seconds": 0.05, "records": 2, "unanchored_seconds": 60.0}

    def write_unanchored(folder: str, step: timedelta) -> None:
        clock = ReplayClock(MOMENT)
        (tmp_path / folder).mkdir()
        anchors = AnchorObjects(store, tmp_path / folder / "anchors.jsonl", **{**bounds, "seconds": NEVER})
        journal = Journal(database, anchors, clock)
        writer = journal.writer("trading")
        store.is_away = True
        for number in range(4):
            clock.advance(MOMENT + number * step)
            writer.append("note", {"number": number})
        journal.close()
        store.is_away = False

    write_unanchored("killed", timedelta(seconds=1))
    with machine(tmp_path / "successor", database, store, **bounds) as journal:
        assert journal.writer("trading").append("note", {"number": 4}).seq == 5
    write_unanchored("killed later", timedelta(minutes=5))
    with machine(tmp_path / "second", database, store, **bounds) as journal:
        with pytest.raises(ChainBrokenError, match=r"records 6 to 9, which no writer .* audit adopt"):
            journal.writer("trading")
        journal.adopt("trading", "Ada", "the bucket was away for an hour")
    elsewhere = AnchorObjects(S3Store(bucket), tmp_path / "nothing.jsonl", **bounds)
    (report,) = verify_journal(database, elsewhere)
    assert report.ok and "adopted by Ada" in report.adopted[0]


def test_anchors_outside_a_bucket_are_refused(tmp_path: Path) -> None:
    """The setting takes a bucket alone; a file under home is what it is when empty."""
    with pytest.raises(SettingsError, match="it is no bucket; write s3://bucket/prefix"):
        load_settings(journal={"anchors": os.fspath(tmp_path)})
