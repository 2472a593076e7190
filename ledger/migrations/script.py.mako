"""${message}."""

from __future__ import annotations

from ledger.migrations import run_file

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("${up_revision}_NAME.sql")
