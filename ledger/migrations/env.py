"""Alembic's entry: runs the revisions on the connection, and in the transaction, that ledger.schema opened."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="ledger")
with context.begin_transaction():
    context.run_migrations()
