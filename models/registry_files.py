"""The files under the registry's folder: the database as a file, and the locks beside it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphaloop.errors import AlphaloopError, DamagedStoreError, VendorError

DAMAGE = ("malformed", "not a database", "no such table", "no such column", "disk I/O error")
"""What SQLite says of a database that cannot be read."""


def check_database(database: Path) -> None:
    """Raise `DamagedStoreError` unless SQLite finds the file whole; it is opened for reading only."""
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise translate(database, error) from error
    if problem != "ok":
        raise damaged(database, problem)


def translate(database: Path, error: Exception) -> AlphaloopError:
    """A vendor's error as ours: damage where the database cannot be read, else a failure of the vendor."""
    if any(mark in str(error) for mark in DAMAGE):
        return damaged(database, str(error))
    return VendorError(f"MLflow failed on {database}: {_first_line(str(error))}")


def damaged(database: Path, problem: str) -> DamagedStoreError:
    """The error for a database that cannot be read, with the way out."""
    return DamagedStoreError(
        f"the registry {database} cannot be read: {_first_line(problem)}; restore it from a copy, or move "
        f"{database.parent} away and register the models again"
    )


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock on `path` alone among all threads and processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
