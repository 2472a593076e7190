"""The checks at the door: whether a believed request may be carried out here and now. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from ledger import runs
from ledger.errors import BadRequest, PlanChanged, UnknownRun
from ledger.model import Command, Kind
from ledger.names import check_name
from ledger.request import Request
from ledger.rights import Rights
from ledger.settings import Settings

#: Takes a target and a migration, finds the plan and returns its SHA-256.
Pin = Callable[[str, str], str]


def admit(conn: Connection, request: Request, rights: Rights, settings: Settings) -> str | None:
    """Return the migration that the request is about, if any, once whoever asks may ask for it.

    Rights are judged first, so that nobody learns of targets and runs that are none of their business.

    Args:
        conn: The ledger.
        request: Its signature was verified.
        rights: Of its issuer.
        settings: Says which targets there are.

    Raises:
        BadName: Target or migration cannot be names.
        NotAllowed: The issuer has no right to this.
        UnknownTarget: No target of that name is configured.
        UnknownRun: The run to recover or purge is not in the ledger, or not of that target.
        BadRequest: That run is about no migration.
    """
    check_name("target", request.target)
    rights.check(request.kind, request.target)
    if request.kind is not Kind.CANARY:
        settings.target(request.target)
    if request.migration is not None or request.kind is Kind.ROLLBACK:
        check_name("migration", request.migration or "")
    if request.subject_run is None:
        return request.migration
    return _migration_of(conn, request, request.subject_run)


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


def command_of(request: Request, migration: str | None, plan_sha256: str | None, *, needs_approval: bool) -> Command:
    """Return the command with its plan as it is at this moment; only a rollback has one.

    Raises:
        PlanChanged: The plan is not the one that the request was signed for.
    """
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
        needs_approval=needs_approval,
    )
