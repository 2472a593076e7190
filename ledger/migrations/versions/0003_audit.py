"""The append-only audit log."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0003_audit.sql")
