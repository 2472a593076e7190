"""What a step is for, what it found, when it ended."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0005_steps.sql")
