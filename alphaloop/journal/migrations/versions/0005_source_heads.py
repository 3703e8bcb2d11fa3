"""The newest bar of each source that is stored and online."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the sources' heads."""
    op.create_table(
        "source_heads",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("bar", sa.Text, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("pace", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Refuse: a journal is never changed back by a tool."""
    raise NotImplementedError("the journal has no way back; restore a copy of before instead")
