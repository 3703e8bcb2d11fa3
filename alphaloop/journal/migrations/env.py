"""Alembic's entry point, which runs the revisions on the caller's connection."""

from alembic import context

from alphaloop.journal.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
