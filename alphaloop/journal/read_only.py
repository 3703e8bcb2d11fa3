"""Read access for verification: every record of a journal, without changing a byte of it.

SQLite keeps the index of a write-ahead log beside the database, so it cannot open a journal in a folder
without write permission: on a read-only medium, or as another user. Such a journal is opened as an immutable
file, or, if its log still holds records, as a copy.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alphaloop.errors import DamagedStoreError
from alphaloop.journal.tables import DATABASE_ERRORS, is_open_failure, open_engine, records


class CannotOpenError(DamagedStoreError):
    """A database that could not be opened: no permission, no such server, or in use."""


def read_journal_records(url: sa.URL) -> list[Any]:
    """Read all records of the journal at `url`, ordered by stream and number.

    Raises `CannotOpenError` for a database that cannot be opened, `DamagedStoreError` for a damaged one.
    """
    if url.get_backend_name() != "sqlite":
        return _read(open_engine(url), is_file=False)
    file = Path(str(url.database))
    if not file.is_file():
        raise CannotOpenError("it is not a file")
    try:
        return _read(open_engine(url, read_only=True), is_file=True)
    except CannotOpenError:
        try:
            return _read_unwritable(file)
        except OSError as refused:
            raise CannotOpenError(refused.strerror or str(refused)) from refused


def _read_unwritable(file: Path) -> list[Any]:
    with file.open("rb"):
        pass  # raises the reason if the permission to read is missing
    log = file.with_name(f"{file.name}-wal")
    if not log.exists() or not log.stat().st_size:
        url = sa.URL.create("sqlite", database=str(file))
        return _read(open_engine(url, read_only=True, immutable=True), is_file=True)
    with tempfile.TemporaryDirectory(prefix="alphaloop-audit-") as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        return _read(open_engine(sa.URL.create("sqlite", database=str(copy))), is_file=True)


def _read(engine: sa.Engine, *, is_file: bool) -> list[Any]:
    try:
        with engine.connect() as connection:
            if is_file:
                verdict = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
                if verdict != "ok":
                    raise DamagedStoreError(f"the database is damaged: {verdict}")
            return list(connection.execute(sa.select(records).order_by("stream", "seq")).mappings())
    except DATABASE_ERRORS as error:
        cause = error.__cause__ or error
        if is_open_failure(error):
            raise CannotOpenError(" ".join(str(cause).split())) from error
        raise DamagedStoreError(f"the database is damaged: {cause}") from error
    finally:
        engine.dispose()
