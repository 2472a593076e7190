"""The exit code of a run is its state's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from ledger.model import Json, Kind, Run, State
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


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_a_validation_ends_as_its_checks_do(ok: bool, code: int) -> None:  # noqa: FBT001 - a parameter of the test
    """A validation that completed exits with 1 if a check failed; a rollback with failed checks after it with 0."""
    found: dict[str, Json] = {"ok": ok, "checks": []}
    validation = replace(_RUN, kind=Kind.VALIDATE, migration=None, state=State.COMPLETED, result=found)
    rollback = replace(_RUN, state=State.COMPLETED, result={"validation": found})

    assert (exits.of_run(validation), exits.of_run(rollback)) == (code, 0)


def test_a_validation_that_found_nothing_out() -> None:
    """A validation that was refused, or goes on, exits as any run."""
    validation = replace(_RUN, kind=Kind.VALIDATE, migration=None)

    assert exits.of_run(validation) == 4
    assert exits.of_run(replace(validation, state=State.REFUSED)) == 3
