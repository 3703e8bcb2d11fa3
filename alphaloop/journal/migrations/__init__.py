"""Alembic migrations of the journal, run by `alphaloop.journal.tables.migrate`."""
