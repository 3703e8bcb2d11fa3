"""Heads of sources: the newest bar of each that is stored and whose features are online.

A head is one small record. The streamer moves it forward by compare-and-swap, under its role, once the online
store has the bar; readers learn of a bar here and list no folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from alphaloop.clock import as_utc
from alphaloop.errors import LeaseLostError, UnreachableStoreError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.tables import DATABASE_ERRORS, database_reason, insert_missing, source_heads


class Pace(StrEnum):
    """How the bars of a source come: as they close, as fast as asked, or each when all parts are ready."""

    LIVE = "live"
    SPEED = "speed"
    LOCKSTEP = "lockstep"


@dataclass(frozen=True, slots=True)
class SourceHead:
    """Newest bar of one source.

    Parameters
    ----------
    source : str
        Identity of the source, with its options.
    number : int
        Number of the bar among those that were streamed; 0 is the last bar of the history before.
    bar : datetime
        Close of the bar, in UTC.
    snapshot : str
        Id of the snapshot that ends with the bar.
    pace : Pace
        How the bars come.
    """

    source: str
    number: int
    bar: datetime
    snapshot: str
    pace: Pace


class SourceHeads:
    """Heads of the sources in the journal's database.

    Parameters
    ----------
    engine : Engine
        Database of the journal.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, source: str) -> SourceHead | None:
        """Return the head of `source`; None before its first bar.

        Raises `UnreachableStoreError` where the database does not answer.
        """
        query = sa.select(source_heads).where(source_heads.c.source == source)
        try:
            with self._engine.connect() as connection:
                row = connection.execute(query).one_or_none()
        except DATABASE_ERRORS as error:
            raise _away(source, error) from error
        if row is None:
            return None
        return SourceHead(source, row.number, datetime.fromisoformat(row.bar), row.snapshot, Pace(row.pace))

    def advance(self, before: SourceHead | None, head: SourceHead, role: RoleLease) -> None:
        """Replace `before` by `head`, in one transaction that checks the streamer's role.

        Parameters
        ----------
        before : SourceHead or None
            Head that was read; None where there was none.
        head : SourceHead
            New head of the same source.
        role : RoleLease
            The role `streamer/SOURCE`.

        Raises
        ------
        LeaseLostError
            Where another streamer took the role over, or moved the head first.
        UnreachableStoreError
            Where the database does not answer.
        """
        values = {
            "number": head.number,
            "bar": as_utc(head.bar).isoformat(),
            "snapshot": head.snapshot,
            "pace": head.pace.value,
        }
        try:
            with self._engine.begin() as connection:
                role.require(connection)
                if before is None:
                    insert_missing(connection, source_heads, {"source": head.source, **values})
                expected = before or head
                moved = connection.execute(
                    source_heads.update()
                    .where(
                        source_heads.c.source == head.source,
                        source_heads.c.number == expected.number,
                        source_heads.c.snapshot == expected.snapshot,
                    )
                    .values(**values)
                )
                if moved.rowcount != 1:
                    raise LeaseLostError(
                        f"the head of '{head.source}' is not bar {expected.number} any more: another "
                        "streamer moved it; nothing was changed, and this process must stop"
                    )
        except DATABASE_ERRORS as error:
            raise _away(head.source, error) from error


def _away(source: str, error: Exception) -> UnreachableStoreError:
    return UnreachableStoreError(f"the head of '{source}' cannot be reached: {database_reason(error)}")
