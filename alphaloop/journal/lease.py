"""The writer's lease of a stream, fenced by an epoch.

Taking a lease always succeeds and raises the epoch. Each append first renews the lease under its own
epoch, inside its own transaction, so a writer that was overtaken while it slept cannot write.
"""

from __future__ import annotations

import sqlalchemy as sa

from alphaloop.errors import LeaseLostError
from alphaloop.journal.tables import leases, records


def take(connection: sa.Connection, stream: str, at: str) -> int:
    """Take the lease of `stream` within the caller's transaction; returns the new epoch.

    The epoch is above that of every record as well, should the table of leases have been lost.
    """
    # Written first, so that the database's write lock is held before anything is read.
    raised = connection.execute(
        leases.update().where(leases.c.stream == stream).values(epoch=leases.c.epoch + 1, taken_at=at)
    )
    if raised.rowcount == 0:
        connection.execute(leases.insert().values(stream=stream, epoch=1, taken_at=at))
    epoch = int(connection.execute(sa.select(leases.c.epoch).where(leases.c.stream == stream)).scalar_one())
    written = connection.execute(
        sa.select(sa.func.max(records.c.epoch)).where(records.c.stream == stream)
    ).scalar()
    if written is not None and epoch <= int(written):
        epoch = int(written) + 1
        connection.execute(leases.update().where(leases.c.stream == stream).values(epoch=epoch))
    return epoch


def renew(connection: sa.Connection, stream: str, epoch: int, at: str) -> None:
    """Hold the lease for the caller's transaction; raises `LeaseLostError` if another took it."""
    held = connection.execute(
        leases.update().where(leases.c.stream == stream, leases.c.epoch == epoch).values(taken_at=at)
    )
    if held.rowcount != 1:
        raise LeaseLostError(
            f"stream '{stream}': this writer's lease (epoch {epoch}) was taken over by another; "
            "nothing was written, and this process must stop writing"
        )
