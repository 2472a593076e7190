"""What the engine does beside moving, copying and defining."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0004_engine.sql")
