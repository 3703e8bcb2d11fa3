"""The registry's database: MLflow's tables in one SQLite file, and its file locks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from alphaloop.errors import AlphaloopError, DamagedStoreError, VendorError
from alphaloop.runtime.processes import silence_telemetry

DAMAGE_MESSAGES = ("malformed", "not a database", "no such table", "no such column", "disk I/O error")
"""Texts in SQLite's messages about a database that cannot be read."""
OTHER_SCHEMA_MESSAGE = "out-of-date database schema"
"""Text in MLflow's message about a database whose tables are of another release, older or newer."""


def check_database(database: Path) -> None:
    """Raise `DamagedStoreError` unless SQLite finds the file intact; it is opened read-only."""
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise translate_mlflow_error(database, error) from error
    if problem != "ok":
        raise damaged_registry_error(database, problem)


def open_database(database: Path) -> Any:
    """Open MLflow's client on the database, which is created if missing.

    The caller holds the lock on opening. Raises `DamagedStoreError` for a file that cannot be read,
    `VendorError` for any other failure.
    """
    if database.exists():
        check_database(database)
    _quiet_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if not database.exists():
            create_database(database)
        return _connect(database)
    except (MlflowException, SQLAlchemyError) as error:
        raise translate_mlflow_error(database, error) from error


def translate_mlflow_error(database: Path, error: Exception) -> AlphaloopError:
    """Translate a vendor's error: damage where the database cannot be read, else a vendor failure."""
    if OTHER_SCHEMA_MESSAGE in str(error):
        return DamagedStoreError(
            f"the registry {database} was made by another release of MLflow: {_first_sentence(str(error))}; "
            "install the release of alphaloop that made it, or set ALPHALOOP_HOME to another folder"
        )
    if any(mark in str(error) for mark in DAMAGE_MESSAGES):
        return damaged_registry_error(database, str(error))
    return VendorError(f"MLflow failed on {database}: {_first_line(str(error))}")


def damaged_registry_error(database: Path, problem: str) -> DamagedStoreError:
    """Make the error for a database that cannot be read, with the way out."""
    return DamagedStoreError(
        f"the registry {database} cannot be read: {_first_line(problem)}; restore it from a copy, or move "
        f"{database.parent} away and register the models again"
    )


def _first_sentence(text: str) -> str:
    return _first_line(text).split(". ")[0]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _quiet_mlflow() -> None:
    import logging

    silence_telemetry("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _connect(database: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{database}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    # Both stores open now, under the lock, because opening may migrate their tables.
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)
    return client


def create_database(database: Path) -> None:
    """Create a new database in a file beside `database`, then rename that.

    A start that is killed leaves no incomplete database.
    """
    unfinished = database.with_name(f".creating-{os.getpid()}.db")
    unfinished.unlink(missing_ok=True)
    _connect(unfinished)
    os.replace(unfinished, database)
