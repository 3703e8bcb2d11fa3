"""Progress over bars: the last bar that each part is done with, for a replay that waits for its parts."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from alphaloop.clock import as_utc
from alphaloop.journal.tables import bar_progress, insert_missing


class BarProgress:
    """The last bar that each part is done with; a part is named by its role.

    It only says when a replay may go on: what was done with a bar stands in the records.

    Parameters
    ----------
    engine : Engine
        Database of the journal.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def mark(self, part: str, bar: datetime) -> None:
        """Say that `part` is done with the bar that closed at `bar`; raises `ValueError` without a zone."""
        at = as_utc(bar).isoformat()
        with self._engine.begin() as connection:
            insert_missing(connection, bar_progress, {"part": part, "bar": at})
            connection.execute(bar_progress.update().where(bar_progress.c.part == part).values(bar=at))

    def of(self, part: str) -> datetime | None:
        """Return the close of the last bar that `part` is done with; None if it never said so."""
        with self._engine.connect() as connection:
            query = sa.select(bar_progress.c.bar).where(bar_progress.c.part == part)
            found = connection.execute(query).scalar()
        return datetime.fromisoformat(found) if found else None
