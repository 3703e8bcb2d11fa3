"""Roles, the role that alone may write a stream, and how far each part has come."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of roles and of progress; streams of before belong to no role yet."""
    op.create_table(
        "roles",
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("heartbeats", sa.BigInteger, nullable=False),
        sa.Column("released", sa.Boolean, nullable=False),
        sa.Column("taken_at", sa.Text, nullable=False),
    )
    op.create_table(
        "bar_progress",
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("bar", sa.Text, nullable=False),
    )
    op.add_column("leases", sa.Column("role", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Refuse: a journal is never changed back by a tool."""
    raise NotImplementedError("the journal has no way back; restore a copy of before instead")
