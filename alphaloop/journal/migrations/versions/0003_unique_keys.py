"""Where a record with a value stands, so that an append that is unique reads no other bodies."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of keys, empty: the first append that is unique fills it from the records."""
    op.create_table(
        "unique_keys",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("field", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: a journal is never changed back by a tool."""
    raise NotImplementedError("the journal has no way back; restore a copy of before instead")
