"""What the monitor looks at."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0009_watching.sql")
