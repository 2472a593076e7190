"""Which row wins where a preserved one meets a newer one."""

from __future__ import annotations

from ledger.migrations import run_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the revision's SQL file."""
    run_file("0008_policy.sql")
