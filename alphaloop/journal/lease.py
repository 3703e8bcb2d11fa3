"""The writer's lease of a stream, fenced by an epoch.

Taking a lease always succeeds and raises the epoch. Each append first renews the lease under its own epoch,
in the same transaction, so that a writer whose lease was taken over meanwhile cannot write.
"""

from __future__ import annotations

import sqlalchemy as sa

from alphaloop.errors import LeaseLostError
from alphaloop.journal.tables import leases, records


def take_lease(connection: sa.Connection, stream: str, at: str) -> int:
    """Take the lease of `stream` within the caller's transaction and return the new epoch.

    The new epoch is also above that of every record, in case the table of leases was lost.
    """
    # The write comes first, so that the database's write lock is held before anything is read.
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
