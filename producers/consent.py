"""Consent at the door: approvals and cancellations are verified, judged by rights, written down, and rung for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Connection, Engine

from ledger import consent, doorbell, keys, runs
from ledger.database import transaction
from ledger.envelope import check_meant_now, open_statement
from ledger.errors import LedgerUnreachable, QueueUnreachable, StepbackError, UnknownRun
from ledger.installation import installation_id
from ledger.model import Run, State
from ledger.rights import Rights
from ledger.settings import Settings
from ledger.statements import Approval, Cancellation
from producers.refusals import Refusal, refuse_all

_S = TypeVar("_S", Approval, Cancellation)

log = structlog.get_logger(__name__)


def approve(envelope: str, *, engine: Engine, broker: RedisBroker, settings: Settings, via: str) -> Run:
    """Let a run that waits go on, and return it as it stands then.

    Args:
        envelope: The compact JWS of an `Approval`.
        engine: The ledger.
        broker: The doorbell. Where Redis does not answer the reconciler rings once it is back.
        settings: Says who may.
        via: The door, for audit log and metrics.

    Raises:
        StepbackError: Any refusal; it is in the audit log, without the text that was refused.
    """

    def act(conn: Connection, approval: Approval, run: Run) -> None:
        Rights.of(settings, approval.issuer).check_consent(run.target, run.requested_by, to="approve")
        consent.approve(conn, approval, envelope)

    run = _consent(Approval, envelope, engine, via, act)
    if run.state is not State.QUEUED:
        # The same approval again, and the run has gone on since.
        return run
    try:
        doorbell.ring(broker, run.command_id)
    except QueueUnreachable as error:
        log.warning("doorbell_failed", run=run.run, code=error.code)
    return run


def cancel(envelope: str, *, engine: Engine, settings: Settings, via: str) -> Run:
    """End a run that no worker has in hand, or have its worker stop before it changes anything; return it as it stands.

    Args:
        envelope: The compact JWS of a `Cancellation`.
        engine: The ledger.
        settings: Says who may.
        via: The door, for audit log and metrics.

    Raises:
        StepbackError: Any refusal; it is in the audit log, without the text that was refused.
    """

    def act(conn: Connection, cancellation: Cancellation, run: Run) -> None:
        Rights.of(settings, cancellation.issuer).check_consent(run.target, run.requested_by, to="cancel")
        consent.cancel(conn, cancellation, envelope)

    return _consent(Cancellation, envelope, engine, via, act)


def _consent(
    kind: type[_S], envelope: str, engine: Engine, via: str, act: Callable[[Connection, _S, Run], None]
) -> Run:
    installation = installation_id(engine)
    statement: _S | None = None
    known: Run | None = None
    try:
        with transaction(engine) as conn:
            # In two steps, so that the refusal of what is out of time names who signed it.
            statement = open_statement(kind, envelope, partial(keys.find_key, conn))
            check_meant_now(conn, statement, installation)
            known = _meant(conn, statement)
            act(conn, statement, known)
            return runs.find(conn, known.run)
    except LedgerUnreachable:
        raise
    except StepbackError as error:
        if statement is None:
            refusal = Refusal(error)
        else:
            refusal = Refusal(error, statement.issuer, statement.target, run=None if known is None else known.run)
        refuse_all(engine, [refusal], via=via)
        raise


def _meant(conn: Connection, statement: Approval | Cancellation) -> Run:
    """Find the run; its number, its command and its target have to go together."""
    run = runs.find(conn, statement.run)
    if (run.command_id, run.target) != (statement.command_id, statement.target):
        raise UnknownRun(f"run {statement.run} is not that of the command and target that the {statement.what} names")
    return run
