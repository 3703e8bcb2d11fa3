"""Appends: records by whoever has something to say, on a stream that no role owns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock, as_utc
from alphaloop.errors import VendorError
from alphaloop.journal.anchors import Anchor, AnchorLog
from alphaloop.journal.chain import GENESIS_HASH
from alphaloop.journal.lease import lock_for_append
from alphaloop.journal.record import Record, canonical_json
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.tables import DATABASE_ERRORS, database_reason, records
from alphaloop.journal.unique_keys import find_unique
from alphaloop.journal.writer import (
    chained_rows,
    checked_head,
    holds_row,
    is_stored,
    to_record,
)

Batch = Sequence[tuple[str, Mapping[str, Any]]]
Doubts = dict[str, list[dict[str, Any]]]
"""By stream, the rows of the last batch whose commit was not answered."""


def append_records(
    engine: sa.Engine,
    anchors: AnchorLog,
    clock: Clock,
    stream: str,
    batch: Batch,
    *,
    unique: str | None,
    role: RoleLease | None,
    doubts: Doubts,
    within: Callable[[sa.Connection], None] = lambda connection: None,
) -> list[Record]:
    """Append `batch` in one transaction that holds the head of `stream`; fences nobody.

    With `unique`, the name of a field of the bodies, a record of the same kind and value that is there
    already takes the place of a new one. With `role` its token is checked in the same transaction, in which
    `within` makes further changes: if it raises, nothing is written.

    A batch whose commit was not answered stays in `doubts` until the next append to its stream holds the
    head: a commit that was still under way has ended then. If that append repeats the batch and the journal
    took it after all, its records are the answer, and nothing is written again.

    Raises
    ------
    InputError
        For a stream that belongs to a role.
    LeaseLostError
        For a `role` that another process took over.
    ChainBrokenError
        Where the stream does not end as its anchors say.
    VendorError
        Where the database fails or the anchor cannot be written.
    """
    at = as_utc(clock.now()).isoformat()
    rows: list[dict[str, Any]] = []
    earlier: list[Record | None] = []
    try:
        with engine.begin() as connection:
            epoch = lock_for_append(connection, stream, at)
            if role is not None:
                role.require(connection)
                # The role's token, unless another role wrote to this stream under a higher one.
                epoch = max(epoch, role.token)
            known = anchors.newest_of(stream)
            seq, head = checked_head(connection, stream, known)
            taken = _taken_after_all(connection, doubts.get(stream), batch)
            earlier = taken or [
                find_unique(connection, stream, kind, unique, body) if unique else None
                for kind, body in batch
            ]
            new = [one for one, before in zip(batch, earlier, strict=True) if before is None]
            if known.last is None:
                anchors.append(Anchor(stream, 0, GENESIS_HASH))
            if new:
                within(connection)
                rows = chained_rows(stream, seq, head, epoch, at, new)
                connection.execute(records.insert(), rows)
                # Last before the commit, so that an announced batch is missing only if the commit failed.
                anchors.announce(stream, rows[-1]["seq"], rows[-1]["hash"])
        doubts.pop(stream, None)
    except DATABASE_ERRORS as error:
        if rows:
            doubts[stream] = rows
        if not rows or not _is_there(engine, rows[-1]):
            reason = database_reason(error)
            raise VendorError(f"the journal could not take {len(batch)} records: {reason}") from error
        del doubts[stream]
    except OSError as error:
        raise _unwritable(anchors, stream, error) from error
    if rows:
        try:
            anchors.append(Anchor(stream, rows[-1]["seq"], rows[-1]["hash"], token=rows[-1]["epoch"]))
        except OSError as error:
            raise _unwritable(anchors, stream, error) from error
    made = iter(rows)
    return [to_record(next(made)) if before is None else before for before in earlier]


def _taken_after_all(
    connection: sa.Connection, doubtful: list[dict[str, Any]] | None, batch: Batch
) -> list[Record | None] | None:
    """Return the records of the doubtful batch, where `batch` repeats it and the journal holds it."""
    if doubtful is None:
        return None
    repeated = [(kind, canonical_json(body)) for kind, body in batch]
    if repeated != [(row["kind"], row["body"]) for row in doubtful] or not holds_row(
        connection, doubtful[-1]
    ):
        return None
    return [to_record(row) for row in doubtful]


def _is_there(engine: sa.Engine, row: Mapping[str, Any]) -> bool:
    try:
        return is_stored(engine, row)
    except DATABASE_ERRORS:
        return False


def _unwritable(anchors: AnchorLog, stream: str, error: OSError) -> VendorError:
    return VendorError(
        f"stream '{stream}': an anchor cannot be written to {anchors.location} ({error.strerror or error}); "
        "make that file writable"
    )
