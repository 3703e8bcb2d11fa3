"""The journal that the settings name: a file under home, or a database of a server."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from alphaloop.clock import Clock
from alphaloop.errors import SettingsError
from alphaloop.journal.bucket.anchor_objects import AnchorObjects
from alphaloop.journal.rollout_documents import DocumentReader
from alphaloop.journal.store import Journal
from alphaloop.journal.tables import database_url
from alphaloop.journal.verification import ChainReport, verify_journal
from alphaloop.settings.settings import Settings
from alphaloop.storage.opening import open_store


def open_journal(settings: Settings, clock: Clock) -> Journal:
    """Open the journal of `settings`, which is created or migrated where that is needed.

    Parameters
    ----------
    settings : Settings
        Section `journal`, and the paths under home.
    clock : Clock
        Source of the records' time.

    Returns
    -------
    Journal

    Raises
    ------
    DamagedStoreError
        Where the journal cannot be opened, is none, or is gone although anchors say that it held records.
    SettingsError
        Where the file of the password cannot be read.
    """
    chosen = settings.journal
    return Journal(
        configured_database(settings), configured_anchors(settings), clock, lease_seconds=chosen.lease_seconds
    )


def document_reader(settings: Settings) -> DocumentReader:
    """Return read-only access to the rollout documents of `settings`; nothing is opened before it is asked.

    Raises `SettingsError` where the file of the password cannot be read.
    """
    return DocumentReader(database_url(configured_database(settings)), settings.paths.rollouts)


def has_journal(settings: Settings) -> bool:
    """Test whether there is, or was, a journal: its file or anchors; a server's database always is one."""
    paths = settings.paths
    return bool(settings.journal.url) or paths.journal.exists() or paths.anchors.exists()


def verify_configured_journal(settings: Settings) -> list[ChainReport]:
    """Check every stream of the journal of `settings`, as `verify_journal` does."""
    return verify_journal(configured_database(settings), configured_anchors(settings))


def journal_name(settings: Settings) -> str:
    """Return the journal's file or URL for a message; it holds no password."""
    return settings.journal.url or str(settings.paths.journal)


def configured_anchors(settings: Settings) -> Path | AnchorObjects:
    """Return the file of anchors under home, or the anchors in the bucket of `journal.anchors`."""
    chosen = settings.journal
    if not chosen.anchors:
        return settings.paths.anchors
    settings.paths.anchors.parent.mkdir(parents=True, exist_ok=True)
    return AnchorObjects(
        open_store(chosen.anchors),
        settings.paths.anchors,
        seconds=chosen.anchor_seconds,
        records=chosen.anchor_records,
        unanchored_seconds=chosen.unanchored_seconds,
    )


def configured_database(settings: Settings) -> Path | sa.URL:
    """Return the journal's file, or its URL with the password of `journal.password_file`.

    Raises `SettingsError` where that file cannot be read.
    """
    chosen = settings.journal
    if not chosen.url:
        return settings.paths.journal
    url = database_url(chosen.url)
    if chosen.password_file is None:
        return url
    try:
        password = chosen.password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"journal.password_file {chosen.password_file} cannot be read: {error.strerror or error}"
        ) from error
    if not password:
        raise SettingsError(
            f"journal.password_file {chosen.password_file} is empty; write the password there"
        )
    return url.set(password=password)
