"""The checks at the door: whether a believed request may be carried out here and now. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from ledger import runs
from ledger.errors import BadRequest, BadSignature, Expired, PlanChanged, UnknownRun
from ledger.model import Command, Kind
from ledger.names import check_name
from ledger.settings import Settings
from producers.request import Request

#: Takes a target and a migration, finds the plan and returns its SHA-256.
Pin = Callable[[str, str], str]

#: How far the clock of whoever signs may run ahead of the ledger's.
MAX_AHEAD = timedelta(minutes=5)


def admit(conn: Connection, request: Request, installation: UUID, settings: Settings) -> str | None:
    """Return the migration that the request is about, if any, once it is sure to be meant for here and now.

    Args:
        conn: The ledger, whose clock counts.
        request: Its signature was verified.
        installation: The id of this installation.
        settings: Says which targets there are.

    Raises:
        BadSignature: It was signed for another installation.
        BadName: Target or migration cannot be names.
        UnknownTarget: No target of that name is configured.
        Expired: Its time has passed, or has not come.
        UnknownRun: The run to recover or purge is not in the ledger, or not of that target.
        BadRequest: That run is about no migration.
    """
    if request.audience != str(installation):
        raise BadSignature("the command is meant for another installation; sign it with the id of this one")
    if request.kind is not Kind.CANARY:
        settings.target(request.target)
    if request.migration is not None or request.kind is Kind.ROLLBACK:
        check_name("migration", request.migration or "")
    _check_time(conn, request)
    if request.subject_run is None:
        return request.migration
    return _migration_of(conn, request, request.subject_run)


def _check_time(conn: Connection, request: Request) -> None:
    now: datetime = conn.execute(text("SELECT now()")).scalar_one()
    if request.not_after <= now:
        raise Expired("the time until which the command could be begun has passed; sign a new one")
    if request.issued_at > now + MAX_AHEAD:
        raise Expired("the command was signed in the future; set the clock of the machine that signed it")


def _migration_of(conn: Connection, request: Request, subject_run: int) -> str:
    run = runs.find(conn, subject_run)
    if run.target != request.target:
        raise UnknownRun(f"run {subject_run} is of another target than the {request.kind.value} names")
    if run.migration is None:
        raise BadRequest(
            f"run {subject_run} is a {run.kind.value} of everything: there is nothing of it to {request.kind.value}"
        )
    # A member of a composite plan, perhaps: the target knows which there were.
    return request.migration or run.migration


def pinned(request: Request, migration: str | None, pin: Pin) -> Command:
    """Return the command with its plan as it is at this moment; a recovery needs none.

    Raises:
        PlanChanged: The plan is not the one that the request was signed for.
        StepbackError: Whatever `pin` finds wrong, such as UnknownMigration.
    """
    plan_sha256 = pin(request.target, migration) if request.kind is Kind.ROLLBACK and migration is not None else None
    if request.plan_sha256 not in {None, plan_sha256}:
        raise PlanChanged("the plan is not the one that the command was signed for; look at it and sign again")
    return Command(
        command_id=request.command_id,
        kind=request.kind,
        target=request.target,
        migration=migration,
        subject_run=request.subject_run,
        plan_sha256=plan_sha256,
        requested_by=request.issuer,
        reason=request.reason,
        not_after=request.not_after,
        accept_sha256=request.accept_sha256,
        policy=request.policy,
        conditions=request.conditions,
        report=request.report,
    )
