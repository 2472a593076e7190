"""Validations, purges, and recoveries that choose."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0007_kinds.sql")
