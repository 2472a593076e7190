"""Who this installation is and whose signatures it knows."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0001_installation.sql")
