"""Alembic's entry point: runs the revisions on the connection it was given."""

from alembic import context

from alphaloop.journal.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
