"""Runs that have ended: recorded, claimed and settled as by a worker, without a target."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine

from ledger import runs
from ledger.model import Command, Json, Kind, RunError, State
from ledger.runs import Claim
from tests import signing


def begin(
    ledger: Engine,
    *,
    kind: Kind = Kind.ROLLBACK,
    target: str = "shop",
    migration: str | None = "add_prices",
    subject_run: int | None = None,
    lease_seconds: float = 60,
) -> Claim:
    """Have a new command recorded and claimed."""
    command = Command(
        command_id=uuid4(),
        kind=kind,
        target=target,
        migration=migration,
        subject_run=subject_run,
        plan_sha256="a" * 64,
        requested_by="operator",
        reason="test",
        not_after=datetime.now(UTC) + timedelta(hours=1),
    )
    signing.record(ledger, command)
    claim = runs.claim(ledger, command.command_id, worker="w1", lease_seconds=lease_seconds)
    assert claim is not None
    return claim


def settle(ledger: Engine, claim: Claim, state: State, result: Mapping[str, Json] | None = None) -> int:
    """Have a run end; return its number."""
    error = None if state is State.COMPLETED else RunError("gate_failed", "a check did not hold")
    runs.settle(ledger, claim, state=state, error=error, blocked_seconds=None, preserved=[], result=result)
    return claim.run
