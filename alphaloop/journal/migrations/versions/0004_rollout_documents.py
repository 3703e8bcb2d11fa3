"""Rollout documents beside the transitions that changed them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of documents; one that is only on the registry is moved here on its first change."""
    op.create_table(
        "rollout_documents",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Refuse: a journal is never changed back by a tool."""
    raise NotImplementedError("the journal has no way back; restore a copy of before instead")
