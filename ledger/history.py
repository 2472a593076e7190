"""Runs as they stand, read back for people, scripts and metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row, text

from ledger.errors import UnknownRun
from ledger.model import Kind, Phase, Policy, Preserved, Run, RunError, State, StepRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

_RUNS: Final = """
    SELECT run.run, command.command_id, command.kind, command.target, command.migration, command.subject_run,
           run.state, run.phase, run.attempt, command.requested_by, command.reason, command.submitted_at,
           run.started_at, run.finished_at, run.blocked_seconds,
           coalesce(run.plan_sha256, command.plan_sha256) AS plan_sha256, run.impact_sha256,
           run.error_code, run.error_message, command.accept_sha256, command.policy, command.conditions, run.result
    FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id)
"""

_BY_RUN = text(f"{_RUNS} WHERE run.run = :run")
_BY_COMMAND = text(f"{_RUNS} WHERE run.command_id = :command_id")
_NEWEST = text(
    f"""{_RUNS}
    WHERE (CAST(:target AS text) IS NULL OR command.target = :target)
      AND (CAST(:state AS text) IS NULL OR run.state = :state)
      AND (CAST(:targets AS text[]) IS NULL OR command.target = ANY(:targets))
      AND (CAST(:before AS bigint) IS NULL OR run.run < :before)
      -- Canaries count backwards.
      AND run.run > 0
    ORDER BY run.run DESC
    LIMIT :limit
    """
)
_STEPS = text(
    "SELECT phase, step, outcome, seconds, section, detail, ended_at FROM ledger.steps WHERE run = :run"
    " ORDER BY ordinal"
)
_PRESERVED = text(
    "SELECT kind, name, how, rows, bytes, quarantine FROM ledger.preserved WHERE run = :run ORDER BY ordinal"
)

#: What preflight wrote into the audit log, in its newest attempt.
_REMARKS = text(
    """
    SELECT detail FROM ledger.audit_events
    WHERE run = :run AND phase = 'preflight' AND step = 'compute impact'
    ORDER BY seq DESC LIMIT 1
    """
)

#: Why it waits for an approval, in its newest attempt.
_WHY = text(
    """
    SELECT detail ->> 'message' FROM ledger.audit_events
    WHERE run = :run AND type = 'approval_awaited'
    ORDER BY seq DESC LIMIT 1
    """
)

_PURGES = text(
    """
    SELECT run.run FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id)
    WHERE command.kind = 'purge' AND command.subject_run = :run AND run.state = 'completed'
    ORDER BY run.run
    """
)


def find(conn: Connection, run: int) -> Run:
    """Return a run with its steps and what it preserved.

    Raises:
        UnknownRun: There is none of that number.
    """
    row = conn.execute(_BY_RUN, {"run": run}).one_or_none()
    if row is None:
        raise UnknownRun(f"no run {run} is in the ledger; `stepback runs` lists them")
    return _whole(conn, row)


def find_by_command(conn: Connection, command_id: UUID) -> Run:
    """Return the run of a command, with its steps and what it preserved.

    Raises:
        UnknownRun: The command is not in the ledger.
    """
    row = conn.execute(_BY_COMMAND, {"command_id": command_id}).one_or_none()
    if row is None:
        raise UnknownRun(f"command {command_id} is not in the ledger; `stepback runs` lists what is")
    return _whole(conn, row)


def list_runs(
    conn: Connection,
    *,
    target: str | None = None,
    state: State | None = None,
    limit: int = 50,
    targets: Collection[str] | None = None,
    before: int | None = None,
) -> list[Run]:
    """Return the newest runs first, without their steps and what they preserved.

    Args:
        conn: A connection to the ledger.
        target: Only runs on this target.
        state: Only runs that stand there.
        limit: At most so many.
        targets: Only runs on these targets; None: on any.
        before: Only runs with a lower number, for the next page.
    """
    values: Mapping[str, object] = {
        "target": target,
        "state": state,
        "limit": limit,
        "targets": None if targets is None else list(targets),
        "before": before,
    }
    return [_run(row) for row in conn.execute(_NEWEST, values)]


def _whole(conn: Connection, row: Row[Any]) -> Run:
    steps = (
        StepRecord(**{**step._asdict(), "phase": Phase(step.phase)}) for step in conn.execute(_STEPS, {"run": row.run})
    )
    preserved = (Preserved(**item._asdict()) for item in conn.execute(_PRESERVED, {"run": row.run}))
    purges = conn.execute(_PURGES, {"run": row.run}).scalars()
    remarks = conn.execute(_REMARKS, {"run": row.run}).scalar_one_or_none() or {}
    notes = (
        *(_waiting(conn, row.run, remarks) if row.state == State.AWAITING_APPROVAL else ()),
        *_notes(remarks),
        *(f"what it kept was deleted by run {purge}: nothing of it can be recovered any more" for purge in purges),
    )
    return replace(_run(row), steps=tuple(steps), preserved=tuple(preserved), notes=notes)


def _waiting(conn: Connection, run: int, remarks: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what somebody has to know who is to approve a run."""
    why = conn.execute(_WHY, {"run": run}).scalar_one_or_none()
    return (*(() if why is None else (why,)), *(f"it would {told}" for told in remarks.get("objects", ())))


def _notes(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what preflight remarked upon, as sentences."""
    return (
        *detail.get("notes", ()),
        *(f"{at['kind']} {at['name']} mentions {', '.join(at['mentions'])}" for at in detail.get("mentions", ())),
        *(
            f"{at['kind']} {at['name']} cannot be dropped while {at['held_by']} is kept"
            for at in detail.get("pins", ())
        ),
        *(f"{label} was accepted by the hash of the impact" for label in detail.get("accepted", ())),
    )


def _run(row: Row[Any]) -> Run:
    values = row._asdict()
    code, message = values.pop("error_code"), values.pop("error_message")
    phase = values["phase"]
    return Run(
        **{
            **values,
            "kind": Kind(values["kind"]),
            "state": State(values["state"]),
            "policy": None if values["policy"] is None else Policy(values["policy"]),
            "phase": None if phase is None else Phase(phase),
            "error": None if code is None else RunError(code, message),
        }
    )
