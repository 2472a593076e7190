"""A claim knows how long its run has been tried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from ledger.claims import Claim
from ledger.model import Command, Kind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_time_since_the_first_claim_is_told_in_seconds() -> None:
    """Both times are the ledger's, so a worker's own clock does not matter."""
    command = Command(UUID(int=1), Kind.ROLLBACK, "shop", "add_x", None, None, "operator", "test", NOON)

    claim = Claim(
        run=1,
        attempt=3,
        command=command,
        worker="w",
        claimed_first_at=NOON,
        claimed_at=NOON + timedelta(seconds=90),
        envelope="-",
        submitted_at=NOON,
    )

    assert claim.trying_seconds == 90.0
