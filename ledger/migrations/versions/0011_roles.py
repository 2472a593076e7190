"""Who may do what."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0011_roles.sql")
