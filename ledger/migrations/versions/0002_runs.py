"""Commands, runs, and what they do."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0002_runs.sql")
