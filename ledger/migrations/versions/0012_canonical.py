"""Canonical JSON with less work."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0012_canonical.sql")
