"""Who may ask, and with whose consent."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0010_trust.sql")
