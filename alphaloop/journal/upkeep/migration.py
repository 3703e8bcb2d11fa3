"""Migration on its own, before the processes of a new release begin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphaloop.errors import UnreachableStoreError
from alphaloop.journal.opening import configured_database, journal_name
from alphaloop.journal.tables import (
    CURRENT_REVISION,
    DATABASE_ERRORS,
    database_reason,
    database_url,
    migrate,
    open_engine,
    revision_of,
)
from alphaloop.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Migration:
    """The result of a migration: revisions before (empty for a new journal) and after."""

    journal: str
    before: str
    after: str

    @property
    def is_change(self) -> bool:
        """True where the tables were not at the newest revision before."""
        return self.before != self.after


def migrate_journal(settings: Settings) -> Migration:
    """Create the tables of the journal of `settings`, or bring them to the newest revision. Idempotent.

    Raises `UnreachableStoreError` where the database cannot be opened, `DamagedStoreError` for a journal of a
    newer release.
    """
    url = database_url(configured_database(settings))
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(url)
    try:
        before = revision_of(engine) or ""
        migrate(engine)
    except DATABASE_ERRORS as error:
        raise UnreachableStoreError(
            f"the journal {journal_name(settings)} cannot be migrated: {database_reason(error)}"
        ) from error
    finally:
        engine.dispose()
    return Migration(journal_name(settings), before, CURRENT_REVISION)
