"""Rollout documents: one row a model in the journal's database, replaced with its transition record.

Control replaces a row under its role, on the generation that it had read, in the transaction of the record
that says why (`Journal.replace_document`). Servers and commands read rows without the right to change one,
and keep the last one of each model in a file, for a start while the database is away.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from alphaloop.errors import DamagedStoreError, InputError, RolloutConflictError, VendorError
from alphaloop.journal.tables import (
    DATABASE_ERRORS,
    database_reason,
    is_missing_table,
    open_engine,
    rollout_documents,
)
from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.atomic_file import replace_file


class RolloutDocuments:
    """The documents in the database of `engine`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, model: str) -> RolloutDocument | None:
        """Return the document of `model`; None before the first one.

        Raises `DamagedStoreError` for one that cannot be read, `VendorError` where the database fails.
        """
        text = self.texts(model).get(model)
        return None if text is None else RolloutDocument.from_json(text)

    def texts(self, model: str | None = None) -> dict[str, str]:
        """Return the stored JSON of every model, or of `model` alone; errors are those of `read`."""
        query = sa.select(rollout_documents.c.model, rollout_documents.c.document)
        if model is not None:
            query = query.where(rollout_documents.c.model == model)
        try:
            with self._engine.connect().execution_options(postgresql_readonly=True) as connection:
                return {row.model: row.document for row in connection.execute(query)}
        except DATABASE_ERRORS as error:
            if is_missing_table(error):
                # A journal of an earlier release, which nobody has migrated yet.
                return {}
            raise VendorError(f"the rollout documents cannot be read: {database_reason(error)}") from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def replace_document(
    connection: sa.Connection, document: RolloutDocument, expected_generation: int | None
) -> None:
    """Replace the row of `document.model` in the caller's transaction.

    Raises `RolloutConflictError` unless the stored generation is `expected_generation` (None: there is no
    row yet) and that of `document` follows it.
    """
    if document.generation <= (expected_generation or 0):
        raise RolloutConflictError(
            f"generation {document.generation} of the rollout of '{document.model}' does not follow "
            f"{expected_generation}; make it with RolloutDocument.next"
        )
    table, row = rollout_documents, {"generation": document.generation, "document": document.to_json()}
    found = connection.execute(sa.select(table.c.generation).where(table.c.model == document.model)).scalar()
    if found == expected_generation:
        if found is None:
            connection.execute(table.insert().values(model=document.model, **row))
            return
        where = table.c.model == document.model, table.c.generation == expected_generation
        if connection.execute(table.update().where(*where).values(**row)).rowcount == 1:
            return
    raise RolloutConflictError(
        f"the rollout of '{document.model}' is at generation {found}, not at {expected_generation}; read it "
        "again and decide anew"
    )


class DocumentReader:
    """Read-only access to the documents of a journal that may not exist, or be away.

    Parameters
    ----------
    url : sa.URL
        Database of the journal.
    folder : Path
        Folder of the last known document of each model.
    """

    def __init__(self, url: sa.URL, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._documents: RolloutDocuments | None = None

    def __reduce__(self) -> tuple[type[DocumentReader], tuple[sa.URL, Path]]:
        # Another process connects itself.
        return DocumentReader, (self._url, self._folder)

    def read(self, model: str) -> RolloutDocument | None:
        """Return the document of `model`, or None; errors are those of `RolloutDocuments.read`."""
        text = self.texts(model).get(model)
        if text is None:
            return None
        document = RolloutDocument.from_json(text)
        self._keep(document)
        return document

    def texts(self, model: str | None = None) -> dict[str, str]:
        """Return the stored JSON of every model, or of `model` alone."""
        if self._url.get_backend_name() == "sqlite" and not Path(str(self._url.database)).exists():
            return {}
        if self._documents is None:
            self._documents = RolloutDocuments(open_engine(self._url, read_only=True))
        return self._documents.texts(model)

    def last_known(self, model: str) -> RolloutDocument | None:
        """Return the last document of `model` that was read on this machine; None if there is none."""
        try:
            return RolloutDocument.from_json(self._file(model).read_text(encoding="utf-8"))
        except (OSError, ValueError, DamagedStoreError):
            return None

    def _keep(self, document: RolloutDocument) -> None:
        known = self.last_known(document.model)
        if known is not None and known.generation >= document.generation:
            return
        try:
            replace_file(
                self._file(document.model),
                lambda partial: partial.write_text(document.to_json(), encoding="utf-8"),
            )
        except InputError:
            # A full disk, or a home without the right to write, must not keep a server from answering.
            return

    def _file(self, model: str) -> Path:
        return self._folder / f"{quote(model, safe='')}.json"
