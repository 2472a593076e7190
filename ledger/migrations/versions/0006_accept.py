"""Commands that accept an impact by its hash."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0006_accept.sql")
