"""The tables of the journal, and the database engine that opens them.

Every column of a record is text or an integer, so that the stored values are exactly the hashed values.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from alphaloop.errors import DamagedStoreError, MissingPartError

CURRENT_REVISION = "0005"
"""The newest migration; a journal at this revision is opened without loading Alembic."""

DATABASE_ERRORS = (sa.exc.SQLAlchemyError, UnicodeDecodeError)
"""Errors that a database raises.

SQLite quotes damaged bytes in its messages, which then cannot be decoded.
"""

CONNECT_SECONDS = 5
"""Seconds that a connection to PostgreSQL may take."""

BUSY_TIMEOUT_MS = 10_000
"""Milliseconds that SQLite waits for another process's lock."""

_UNOPENED = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
    }
)
"""Primary result codes that say nothing about the content: no permission, in use, failing medium."""

metadata = sa.MetaData()

records = sa.Table(
    "records",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("records_by_kind", "stream", "kind", "seq"),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("taken_at", sa.Text, nullable=False),
    # The role that alone may write the stream; empty where everybody may append.
    sa.Column("role", sa.Text, nullable=False, server_default=""),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("heartbeats", sa.BigInteger, nullable=False),
    sa.Column("released", sa.Boolean, nullable=False),
    sa.Column("taken_at", sa.Text, nullable=False),
)

bar_progress = sa.Table(
    "bar_progress",
    metadata,
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("bar", sa.Text, nullable=False),
)

unique_keys = sa.Table(
    "unique_keys",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True),
    # Digest of the field's value; empty in the row that says up to which record the others were made.
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)

source_heads = sa.Table(
    "source_heads",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("bar", sa.Text, nullable=False),
    sa.Column("snapshot", sa.Text, nullable=False),
    sa.Column("pace", sa.Text, nullable=False),
)

rollout_documents = sa.Table(
    "rollout_documents",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

MIGRATION_LOCK = 7_305_440_719
"""Key of PostgreSQL's advisory lock under which a journal is created or migrated."""


def database_url(path_or_url: str | Path | sa.URL) -> sa.URL:
    """Return the SQLAlchemy URL of a journal given as a file or as a URL."""
    if isinstance(path_or_url, sa.URL):
        return path_or_url
    if isinstance(path_or_url, str) and "://" in path_or_url:
        url = sa.make_url(path_or_url)
        return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
    return sa.URL.create("sqlite", database=str(Path(path_or_url).resolve()))


def open_engine(url: sa.URL, *, read_only: bool = False, immutable: bool = False) -> sa.Engine:
    """Create an engine on `url`; SQLite runs in WAL mode and syncs every commit.

    The sync makes sure that an order that was sent is in the journal. `read_only` opens a SQLite file without
    the right to change or create anything; `immutable` also treats it as a file that nobody changes, so that
    its write-ahead log is ignored.
    """
    if url.get_backend_name() != "sqlite":
        return _server_engine(url)
    if read_only:
        file = f"file:{quote(str(url.database))}"
        query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if immutable else {})
        url = sa.URL.create("sqlite", database=file, query=query)
    engine = sa.create_engine(url)

    def configure(connection: Any, _: Any) -> None:
        # The driver's own transactions would commit before DDL, so `begin` below starts them.
        connection.isolation_level = None
        # A damaged byte must reach verification as a changed text, not as a decoding error.
        connection.text_factory = _lenient_text
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def _server_engine(url: sa.URL) -> sa.Engine:
    """Create an engine on PostgreSQL, on which nothing rests on a session.

    A pooler in transaction mode gives every transaction another session: so no statement is prepared. A
    connection that died while it was idle is replaced before it is used.
    """
    options = {"prepare_threshold": None, "connect_timeout": CONNECT_SECONDS, "application_name": "alphaloop"}
    try:
        return sa.create_engine(url, connect_args=options, pool_pre_ping=True)
    except ImportError as error:
        raise MissingPartError(
            f"a journal on {url.get_backend_name()} needs psycopg: pip install 'alphaloop[trade]'"
        ) from error


def is_open_failure(error: BaseException) -> bool:
    """Tell a database that could not be opened from a damaged one."""
    cause = error.__cause__ or error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)
        # The low byte is the primary code of an extended one. A file that ends too soon is damaged.
        return (code & 0xFF) in _UNOPENED and code != sqlite3.SQLITE_IOERR_SHORT_READ
    # A database server raises it when it cannot be reached or refuses the login.
    return type(cause).__name__ == "OperationalError"


def is_missing_table(error: BaseException) -> bool:
    """Tell a database without a table from one that failed."""
    cause = error.__cause__ or error
    return type(cause).__name__ == "UndefinedTable" or "no such table" in str(cause)


def database_reason(error: BaseException) -> str:
    """Return in one line what the database said, without the statement that it refused."""
    return " ".join(str(error.__cause__ or error).split())


def insert_missing(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    """Insert `row` unless there is one with its primary key."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_on_postgresql

        connection.execute(insert_on_postgresql(table).values(**row).on_conflict_do_nothing())
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite

        connection.execute(insert_on_sqlite(table).values(**row).on_conflict_do_nothing())


def is_missing_journal(engine: sa.Engine) -> bool:
    """Test for a missing journal: no file, an empty file, or no tables."""
    if engine.url.get_backend_name() == "sqlite":
        file = Path(str(engine.url.database))
        # Checked before connecting, because that would create the file.
        if not file.exists() or file.stat().st_size == 0:
            return True
    with engine.connect() as connection:
        return _revision(connection) is None


def migrate(engine: sa.Engine) -> None:
    """Migrate the tables to `CURRENT_REVISION`.

    Processes that open a new journal at once wait for each other. Raises `DamagedStoreError` for a journal of
    a revision that is not known here.
    """
    with engine.connect() as connection:
        if _revision(connection) == CURRENT_REVISION:
            return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        if _revision(connection) != CURRENT_REVISION:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DamagedStoreError(
                    f"the journal {engine.url.render_as_string()} cannot be brought to revision "
                    f"{CURRENT_REVISION}: {error}; it was made by a newer release of alphaloop, which has to "
                    "be installed for it, or is damaged and has to be restored from a copy"
                ) from error


def revision_of(engine: sa.Engine) -> str | None:
    """Return the revision of a journal's tables; None where there are none."""
    with engine.connect() as connection:
        return _revision(connection)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
