"""Consent in the ledger: approvals of runs that wait, and cancellations of runs that are not wanted any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from ledger import audit
from ledger.claims import append_as, write_as
from ledger.database import transaction
from ledger.errors import Expired, ImpactChanged, NotAllowed, NotAwaiting
from ledger.model import Phase

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ledger.claims import Claim
    from ledger.statements import Approval, Cancellation

_APPROVE: Final = text(
    "SELECT verdict, event FROM ledger.approve(:run, :by, :plan_sha256, :impact_sha256, :not_after, :envelope)"
)
_CANCEL: Final = text("SELECT verdict, event FROM ledger.cancel(:run, :by, :envelope)")

_APPROVALS: Final = text("SELECT envelope FROM ledger.approvals WHERE run = :run ORDER BY approved_at DESC")
_CANCELLATIONS: Final = text("SELECT envelope FROM ledger.cancellations WHERE run = :run ORDER BY cancelled_at")

_AWAIT: Final = text(
    """
    UPDATE ledger.runs SET state = 'awaiting_approval', lease_until = NULL, worker = NULL,
           progressed_at = clock_timestamp()
    WHERE run = :run AND attempt = :attempt AND state = 'in_progress'
    """
)

# The worker that takes one up finds that its time is over, and says so.
_WAKE: Final = text(
    """
    UPDATE ledger.runs AS run SET state = 'queued', rung_at = NULL
    FROM ledger.commands AS command
    WHERE run.state = 'awaiting_approval' AND command.command_id = run.command_id
      AND command.not_after <= clock_timestamp()
    """
)


def approve(conn: Connection, approval: Approval, envelope: str) -> None:
    """Let a run that waits go on; the audit event is written with it.

    Args:
        conn: A connection in a transaction.
        approval: Verified, and its issuer's right to it as well.
        envelope: The signed text, which the worker verifies again.

    The same text again, once it is written down, changes nothing.

    Raises:
        NotAwaiting: The run does not wait, or does not any more.
        NotAllowed: Whoever approves is who asks.
        ImpactChanged: What the run would do is not what is approved.
        Expired: The approval's time has passed.
    """
    values = {
        "run": approval.run,
        "by": approval.issuer,
        "plan_sha256": approval.plan_sha256,
        "impact_sha256": approval.impact_sha256,
        "not_after": approval.not_after,
        "envelope": envelope,
    }
    found = conn.execute(_APPROVE, values).one()
    match found.verdict:
        case "not_awaiting":
            raise NotAwaiting(
                f"run {approval.run} does not wait for an approval; `stepback show {approval.run}` tells how it stands"
            )
        case "not_allowed":
            raise NotAllowed(
                f"run {approval.run} was asked for by the same issuer; somebody else has to approve it, whose key"
                " STEPBACK_KEY and STEPBACK_ISSUER name"
            )
        case "impact_changed":
            raise ImpactChanged(
                f"what run {approval.run} would do is not what the approval was signed for; look at"
                f" `stepback show {approval.run}` and sign again"
            )
        case "expired":
            raise Expired("the time until which the approval counts has passed; sign a new one")
    if found.event is not None:
        audit.announce(conn, found.event)


def cancel(conn: Connection, cancellation: Cancellation, envelope: str) -> None:
    """End a run that no worker has in hand, or ask for the end of one that a worker has; it is audited.

    Args:
        conn: A connection in a transaction.
        cancellation: Verified, and its issuer's right to it as well.
        envelope: The signed text, which the worker verifies again.

    A worker stops before it changes anything, unless it just has. The same text again, once it is written down, changes
    nothing.

    Raises:
        NotAwaiting: The run has ended.
    """
    values = {"run": cancellation.run, "by": cancellation.issuer, "envelope": envelope}
    found = conn.execute(_CANCEL, values).one()
    if found.verdict == "ended":
        raise NotAwaiting(
            f"run {cancellation.run} has ended; what a completed rollback removed, `stepback recover` brings back"
        )
    if found.event is not None:
        audit.announce(conn, found.event)


def approvals(conn: Connection, run: int) -> list[str]:
    """Return the signed approvals of a run, the newest first."""
    return list(conn.execute(_APPROVALS, {"run": run}).scalars())


def cancellations(conn: Connection, run: int) -> list[str]:
    """Return the signed cancellations of a run, the oldest first."""
    return list(conn.execute(_CANCELLATIONS, {"run": run}).scalars())


def await_approval(engine: Engine, claim: Claim, why: str) -> None:
    """Give the run up until somebody approves it.

    Args:
        engine: The ledger.
        claim: Whose run.
        why: What is wanted, for the audit log.

    Raises:
        LeaseLost: Another attempt has the run, or it is finished.
    """
    with transaction(engine) as conn:
        write_as(conn, _AWAIT, claim, {})
        append_as(conn, claim, "approval_awaited", "waiting", phase=Phase.PREFLIGHT, detail={"message": why})


def wake_expired(engine: Engine) -> int:
    """Put runs that have waited for longer than their command counts back into the queue; return how many."""
    with transaction(engine) as conn:
        return conn.execute(_WAKE).rowcount
