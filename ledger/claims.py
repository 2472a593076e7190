"""Claims: who may carry out a run, for how long, and the fence that every later write of the attempt passes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from ledger.audit import append
from ledger.database import transaction
from ledger.errors import LeaseLost
from ledger.model import Command, Event, Json, Kind, Phase, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, CursorResult, Engine, Row, TextClause

#: At most so many are rung at once; the others are next.
_RING_LIMIT: Final = 500

# Two that want the same run: the second waits for the row, looks again, and finds a lease that runs.
_CLAIM = text(
    """
    UPDATE ledger.runs AS run
    SET state = 'in_progress', attempt = run.attempt + 1, worker = :worker, rung_at = NULL,
        lease_until = clock_timestamp() + make_interval(secs => :lease_seconds), progressed_at = clock_timestamp(),
        started_at = coalesce(run.started_at, clock_timestamp())
    FROM ledger.commands AS command
    WHERE run.command_id = :command_id AND command.command_id = run.command_id
      AND (run.state = 'queued' OR (run.state = 'in_progress' AND run.lease_until <= clock_timestamp()))
    RETURNING run.run, run.attempt, run.started_at, clock_timestamp() AS claimed_at,
              command.command_id, command.kind, command.target, command.migration, command.subject_run,
              command.plan_sha256, command.requested_by, command.reason, command.not_after, command.accept_sha256,
              command.policy, command.conditions, command.report, command.needs_approval,
              command.envelope, command.submitted_at
    """
)

# Every write of an attempt takes this row first: no claim, no settling comes between it and its COMMIT.
_HOLD = text(
    """
    UPDATE ledger.runs SET progressed_at = clock_timestamp()
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    """
)

# After a release nobody's lease is to be renewed, so a heartbeat that comes late must name its worker.
_RENEW = text(
    """
    UPDATE ledger.runs
    SET lease_until = clock_timestamp() + make_interval(secs => :lease_seconds),
        progressed_at = CASE WHEN :progressed THEN clock_timestamp() ELSE progressed_at END
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress' AND worker = :worker
    """
)

_RELEASE = text(
    """
    UPDATE ledger.runs
    SET worker = NULL, lease_until = clock_timestamp() + make_interval(secs => :after_seconds)
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    """
)

# Two reconcilers share the work: what one is ringing, the other leaves alone.
_UNFINISHED = text(
    """
    WITH quiet AS MATERIALIZED (
        SELECT run FROM ledger.runs
        WHERE state IN ('queued', 'in_progress')
          AND (state = 'queued' OR lease_until <= clock_timestamp())
          AND (rung_at IS NULL OR rung_at <= clock_timestamp() - make_interval(secs => :quiet_seconds))
        ORDER BY run
        LIMIT :limit
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE ledger.runs AS run SET rung_at = clock_timestamp()
    FROM quiet WHERE run.run = quiet.run
    RETURNING run.run, run.command_id
    """
)


@dataclass(frozen=True)
class Claim:
    """The right to carry out one attempt of a run, while its lease lasts."""

    run: int
    attempt: int
    command: Command
    worker: str
    #: When any worker first claimed the run, and when this one did; both by the ledger's clock.
    claimed_first_at: datetime
    claimed_at: datetime
    #: The command as it was signed, and when it came in.
    envelope: str
    submitted_at: datetime

    @property
    def trying_seconds(self) -> float:
        """How long, at the time of this claim, the run had been tried."""
        return (self.claimed_at - self.claimed_first_at).total_seconds()


def claim(engine: Engine, command_id: UUID, *, worker: str, lease_seconds: float) -> Claim | None:
    """Take a run that waits, or whose lease has lapsed, as a new attempt.

    Args:
        engine: The ledger.
        command_id: What the doorbell said.
        worker: Name of the worker, shown in the audit log.
        lease_seconds: How long it stays ours without `renew`.

    Returns:
        The claim; None if there is nothing to take.
    """
    values = {"command_id": command_id, "worker": worker, "lease_seconds": lease_seconds}
    with transaction(engine) as conn:
        row = conn.execute(_CLAIM, values).one_or_none()
        if row is None:
            return None
        claimed = Claim(
            run=row.run,
            attempt=row.attempt,
            command=_command(row),
            worker=worker,
            claimed_first_at=row.started_at,
            claimed_at=row.claimed_at,
            envelope=row.envelope,
            submitted_at=row.submitted_at,
        )
        detail: dict[str, Json] = {
            "command_id": str(command_id),
            "kind": row.kind,
            "migration": row.migration,
        }
        append_as(conn, claimed, "run_claimed", "ok", detail=detail)
    return claimed


def _command(row: Row[Any]) -> Command:
    return Command(
        command_id=row.command_id,
        kind=Kind(row.kind),
        target=row.target,
        migration=row.migration,
        subject_run=row.subject_run,
        plan_sha256=row.plan_sha256,
        requested_by=row.requested_by,
        reason=row.reason,
        not_after=row.not_after,
        accept_sha256=row.accept_sha256,
        policy=None if row.policy is None else Policy(row.policy),
        conditions=row.conditions,
        report=row.report,
        needs_approval=row.needs_approval,
    )


def renew(engine: Engine, claim: Claim, lease_seconds: float, *, progressed: bool = False) -> bool:
    """Let the lease run from now on again; False if it is no longer ours to renew.

    Args:
        engine: The ledger.
        claim: Whose lease.
        lease_seconds: How long from now.
        progressed: Whether the attempt itself got on, and not just its process lives.
    """
    values = {**fence(claim), "worker": claim.worker, "lease_seconds": lease_seconds, "progressed": progressed}
    with transaction(engine) as conn:
        return conn.execute(_RENEW, values).rowcount > 0


def release(engine: Engine, claim: Claim, *, after_seconds: float) -> None:
    """Give the run up unfinished: from `after_seconds` on anybody may claim it.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    with transaction(engine) as conn:
        write_as(conn, _RELEASE, claim, {"after_seconds": after_seconds})


def unfinished(engine: Engine, *, quiet_seconds: float) -> list[UUID]:
    """Return the commands that wait for a worker, and note that they are rung for now.

    Args:
        engine: The ledger.
        quiet_seconds: Leave out what was rung for within this time.

    Returns:
        Commands that are queued or whose lease has lapsed, the oldest first, at most 500.
    """
    with transaction(engine) as conn:
        rows = conn.execute(_UNFINISHED, {"quiet_seconds": quiet_seconds, "limit": _RING_LIMIT}).all()
    return [row.command_id for row in sorted(rows, key=lambda row: row.run)]


@contextmanager
def holding(engine: Engine, claim: Claim) -> Iterator[Connection]:
    """Give a transaction in which the attempt stays the run's own.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    with transaction(engine) as conn:
        write_as(conn, _HOLD, claim, {})
        yield conn


def write_as(conn: Connection, statement: TextClause, claim: Claim, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Execute a statement that names run and attempt, and see that it met its row.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    result = conn.execute(statement, {**fence(claim), **values})
    if result.rowcount == 0:
        raise LeaseLost(f"run {claim.run}: attempt {claim.attempt} is no longer the one that may write")
    return result


def append_as(
    conn: Connection,
    claim: Claim,
    event_type: str,
    outcome: str,
    *,
    phase: Phase | None = None,
    step: str | None = None,
    detail: Mapping[str, Json] | None = None,
) -> None:
    """Append a fact about the claim's run, told by its worker."""
    append(
        conn,
        Event(
            type=event_type,
            actor=f"worker:{claim.worker}",
            outcome=outcome,
            run=claim.run,
            attempt=claim.attempt,
            target=claim.command.target,
            phase=phase,
            step=step,
            detail=dict(detail or {}),
        ),
    )


def fence(claim: Claim) -> dict[str, int]:
    """Return what a statement needs to name the attempt."""
    return {"run": claim.run, "attempt": claim.attempt}
