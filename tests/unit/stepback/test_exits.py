"""The exit code of a run is its state's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from ledger.model import Kind, Run, State
from stepback.cli import exits

_RUN = Run(
    run=1,
    command_id=UUID(int=1),
    kind=Kind.ROLLBACK,
    target="t",
    migration="m",
    subject_run=None,
    state=State.QUEUED,
    phase=None,
    attempt=0,
    requested_by="local:ada",
    reason="",
    submitted_at=datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
    started_at=None,
    finished_at=None,
    blocked_seconds=None,
    plan_sha256=None,
    impact_sha256=None,
    error=None,
)

_CODES = {
    State.QUEUED: 4,
    State.IN_PROGRESS: 4,
    State.AWAITING_APPROVAL: 4,
    State.COMPLETED: 0,
    State.FAILED: 1,
    State.CANCELLED: 1,
    State.NEEDS_OPERATOR: 1,
    State.REFUSED: 3,
}


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_exit_code(state: State) -> None:
    """0 completed, 1 failed in any way, 3 refused, 4 not decided."""
    assert exits.of_run(replace(_RUN, state=state)) == _CODES[state]
