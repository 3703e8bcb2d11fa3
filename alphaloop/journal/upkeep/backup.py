"""Copies of the journal: a SQLite file of records and rollout documents, taken while it is written, put back.

The anchors stay outside: they tell whether a copy is whole, and whether it is the newest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import sleep
from alphaloop.errors import ChainBrokenError, InputError, MissingStateError, RoleHeldError, VendorError
from alphaloop.journal.anchors import Anchor, AnchorFile, AnchorLog
from alphaloop.journal.opening import configured_anchors, configured_database, journal_name
from alphaloop.journal.read_only import read_journal_records
from alphaloop.journal.roles import held_elsewhere
from alphaloop.journal.tables import (
    DATABASE_ERRORS,
    bar_progress,
    database_reason,
    database_url,
    insert_missing,
    is_missing_journal,
    leases,
    migrate,
    open_engine,
    records,
    roles,
    rollout_documents,
    unique_keys,
)
from alphaloop.journal.verification import ChainReport, check_records
from alphaloop.settings.settings import Settings

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class CopiedJournal:
    """A copy that was made or put back: its file, and the number of records by stream.

    `kept_anchors` is the file that holds the anchors of before, where a restored copy was older than these.
    """

    file: Path
    records: dict[str, int]
    kept_anchors: Path | None = None


def backup_journal(settings: Settings, file: Path) -> CopiedJournal:
    """Copy the records of the journal of `settings` to `file`, and verify the copy.

    Others may write meanwhile: the copy holds the journal as it was at one moment.

    Raises
    ------
    InputError
        For a file that is there already.
    MissingStateError
        Where there is no journal.
    ChainBrokenError
        Where the copy does not agree with itself or with the anchors; it is removed then.
    VendorError
        Where the journal cannot be read or the copy cannot be written.
    """
    if file.exists():
        raise InputError(f"{file} is there already; name a new file")
    anchors, part = _anchor_log(settings), file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    earlier = anchors.read()
    try:
        with _opened(settings) as engine:
            if is_missing_journal(engine):
                raise MissingStateError(f"there is no journal at {journal_name(settings)} to copy")
            # One snapshot of all tables; SQLite's is that of the first read.
            snapshot = engine
            if engine.dialect.name == "postgresql":
                snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
            with snapshot.connect() as connection:
                written = _all(connection, sa.select(records).order_by("stream", "seq"))
                owners = _all(connection, sa.select(leases))
                documents = _all(connection, sa.select(rollout_documents))
        later = anchors.read()
        _write(part, {records: written, leases: owners, rollout_documents: documents})
        copied = read_journal_records(database_url(part))
        _require_whole(file, check_records(copied, earlier, later, anchors))
        part.replace(file)
    except DATABASE_ERRORS as error:
        raise VendorError(f"the journal cannot be copied to {file}: {database_reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)
    return CopiedJournal(file, _counts(copied))


def restore_journal(settings: Settings, file: Path, *, older_than_anchors: bool = False) -> CopiedJournal:
    """Put the records of the copy `file` in the place of those of the journal of `settings`.

    It happens in one transaction. Tokens of roles and epochs of streams go on, so that a process of before
    the restoration writes nothing. With `older_than_anchors` a copy that lacks anchored records is taken as
    well; the anchors of before are kept beside the new ones.

    Raises
    ------
    InputError
        For a file that is not there, or a copy that lacks anchored records.
    RoleHeldError
        Where a process holds a role.
    ChainBrokenError
        For a copy that does not agree with itself or with the anchors.
    VendorError
        Where the database fails.
    """
    if not file.is_file():
        raise InputError(f"{file} is no file; name a copy that `alphaloop journal backup` made")
    anchors, copied = _anchor_log(settings), read_journal_records(database_url(file))
    counts = _counts(copied)
    # Before the database is opened, because that would create a missing one.
    _require_fit(file, copied, anchors.read(), anchors, older_than_anchors=older_than_anchors)
    try:
        with _opened(settings) as engine:
            migrate(engine)
            _require_no_holder(engine, settings.journal.lease_seconds)
            with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
                if engine.dialect.name == "postgresql":
                    connection.exec_driver_sql("LOCK TABLE records, leases IN EXCLUSIVE MODE")
                # Under the lock nobody commits a batch, so these are the last anchors.
                required = anchors.read()
                lacking = _require_fit(file, copied, required, anchors, older_than_anchors=older_than_anchors)
                _replace(connection, copied, file)
    except DATABASE_ERRORS as error:
        raise VendorError(f"the copy {file} cannot be put back: {database_reason(error)}") from error
    if not (lacking and isinstance(anchors, AnchorFile)):
        return CopiedJournal(file, counts)
    # After the commit: until then the anchors still vouch for the records of before.
    kept = _unused(anchors.path)
    anchors.cut_back(counts, kept)
    return CopiedJournal(file, counts, kept)


def _anchor_log(settings: Settings) -> AnchorLog:
    configured = configured_anchors(settings)
    return AnchorFile(configured) if isinstance(configured, Path) else configured


@contextmanager
def _opened(settings: Settings) -> Iterator[sa.Engine]:
    url = database_url(configured_database(settings))
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _write(file: Path, content: Mapping[sa.Table, Rows]) -> None:
    engine = open_engine(database_url(file))
    try:
        migrate(engine)
        with engine.begin() as connection:
            for table, rows in content.items():
                if rows:
                    connection.execute(table.insert(), rows)
        _as_one_file(engine)
    finally:
        engine.dispose()


def _as_one_file(engine: sa.Engine) -> None:
    """Take the copy out of WAL mode, so that no second file belongs to it."""
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("PRAGMA journal_mode=DELETE")  # type: ignore[union-attr]
    finally:
        raw.close()


def _replace(connection: sa.Connection, copied: Rows, file: Path) -> None:
    for table in (records, unique_keys, bar_progress, rollout_documents):
        connection.execute(table.delete())
    # A writer of before would go on behind a record that is no longer there.
    connection.execute(leases.update().values(epoch=leases.c.epoch + 1))
    if copied:
        connection.execute(records.insert(), [dict(row) for row in copied])
    copy = open_engine(database_url(file), read_only=True)
    try:
        with copy.connect() as reading:
            for row in _all(reading, sa.select(leases)):
                insert_missing(connection, leases, row)
            documents = _all(reading, sa.select(rollout_documents))
            if documents:
                connection.execute(rollout_documents.insert(), documents)
    finally:
        copy.dispose()


def _require_fit(
    file: Path, copied: Rows, required: Sequence[Anchor], log: AnchorLog, *, older_than_anchors: bool
) -> bool:
    """Compare a copy with the anchors; returns True where it lacks anchored records and that is permitted."""
    counts = _counts(copied)
    lacking = {
        one.stream: one.seq for one in required if not one.announced and one.seq > counts.get(one.stream, 0)
    }
    if lacking and not older_than_anchors:
        stream, seq = min(lacking.items())
        raise InputError(
            f"the copy {file} is older than the anchors: record {seq} of stream '{stream}' was written, and "
            f"the copy has {counts.get(stream, 0)}; take a newer copy, or give these records up with "
            "--older-than-anchors"
        )
    if lacking and not isinstance(log, AnchorFile):
        raise InputError(
            f"the anchors {log.location} cannot be given up, since nothing in that bucket is replaced; set "
            "journal.anchors to an empty prefix, and adopt the records after the restoration"
        )
    within = [one for one in required if one.seq <= counts.get(one.stream, 0)]
    # A batch at the copy's end may have been announced only, or be followed by anchors that are given up.
    _require_whole(file, check_records(copied, within, within, log))
    return bool(lacking)


def _require_no_holder(engine: sa.Engine, lease_seconds: float) -> None:
    """Raise `RoleHeldError` if a process holds a role: one whose counter goes on within a lease."""
    before = _held(engine)
    if not before:
        return
    sleep(lease_seconds)
    for role, (holder, count) in _held(engine).items():
        if before.get(role) != (holder, count):
            raise RoleHeldError(
                f"role '{role}' is held by {holder}; end that process before the journal is restored"
            )


def _held(engine: sa.Engine) -> dict[str, tuple[str, tuple[int, int]]]:
    found = {}
    with engine.connect() as connection:
        for row in connection.execute(sa.select(roles)).all():
            holder = held_elsewhere(connection, row.role)
            if holder is not None:
                found[row.role] = (holder, (row.token, row.heartbeats))
    return found


def _require_whole(file: Path, chains: Sequence[ChainReport]) -> None:
    problem = next((one.problem for one in chains if not one.ok), None)
    if problem is not None:
        raise ChainBrokenError(f"the copy {file} is not whole: {problem}")


def _all(connection: sa.Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _counts(rows: Rows) -> dict[str, int]:
    return dict(Counter(str(row["stream"]) for row in rows))


def _unused(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.before-restore-{number}")).exists():
        number += 1
    return kept
