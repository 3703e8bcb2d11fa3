"""The lease of a stream: who may write its next record.

A writer takes the lease, which raises the stream's epoch; each batch renews it under that epoch, in the same
transaction, so that a writer whose lease was taken meanwhile cannot write. An append takes the stream for one
transaction only and raises nothing. A stream that belongs to a role is written under that role alone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from alphaloop.errors import InputError, LeaseLostError
from alphaloop.journal.tables import insert_missing, leases, records


def take_lease(connection: sa.Connection, stream: str, at: str, role: str = "") -> int:
    """Take the lease of `stream` within the caller's transaction and return the new epoch.

    With `role` the stream belongs to that role from now on; the caller has checked that it is held. The new
    epoch is also above that of every record, in case the table of leases was lost.
    """
    _lock_stream(connection, stream, at)
    changes: dict[str, Any] = {"epoch": leases.c.epoch + 1, "taken_at": at}
    if role:
        changes["role"] = role
    connection.execute(leases.update().where(leases.c.stream == stream).values(**changes))
    epoch = _epoch(connection, stream)
    written = _written_epoch(connection, stream)
    if epoch <= written:
        epoch = written + 1
        connection.execute(leases.update().where(leases.c.stream == stream).values(epoch=epoch))
    return epoch


def lock_for_append(connection: sa.Connection, stream: str, at: str) -> int:
    """Lock `stream` to the end of the caller's transaction; returns the epoch of an appended record.

    Raises `InputError` for a stream that belongs to a role.
    """
    _lock_stream(connection, stream, at)
    owner = owning_role(connection, stream)
    if owner:
        raise InputError(
            f"stream '{stream}' is written by role '{owner}' alone; append to a stream of your own"
        )
    return max(_epoch(connection, stream), _written_epoch(connection, stream), 1)


def owning_role(connection: sa.Connection, stream: str) -> str:
    """Return the role to which `stream` belongs; empty if everybody may append to it."""
    return connection.execute(sa.select(leases.c.role).where(leases.c.stream == stream)).scalar() or ""


def _lock_stream(connection: sa.Connection, stream: str, at: str) -> None:
    """Hold the stream's row to the end of the transaction, before anything is read.

    On SQLite the write takes the database's only write lock.
    """
    insert_missing(connection, leases, {"stream": stream, "epoch": 0, "taken_at": at})
    connection.execute(leases.update().where(leases.c.stream == stream).values(taken_at=at))


def _epoch(connection: sa.Connection, stream: str) -> int:
    return int(connection.execute(sa.select(leases.c.epoch).where(leases.c.stream == stream)).scalar_one())


def _written_epoch(connection: sa.Connection, stream: str) -> int:
    """Return the epoch of the stream's last record; 0 if it has none."""
    query = (
        sa.select(records.c.epoch).where(records.c.stream == stream).order_by(records.c.seq.desc()).limit(1)
    )
    return int(connection.execute(query).scalar() or 0)


def renew_lease(connection: sa.Connection, stream: str, epoch: int, at: str) -> None:
    """Renew the lease in the caller's transaction; raise `LeaseLostError` if another writer took it."""
    held = connection.execute(
        leases.update().where(leases.c.stream == stream, leases.c.epoch == epoch).values(taken_at=at)
    )
    if held.rowcount != 1:
        raise LeaseLostError(
            f"stream '{stream}': this writer's lease (epoch {epoch}) was taken over by another; "
            "nothing was written, and this process must stop writing"
        )
