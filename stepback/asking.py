"""Asking for something: a request signed with the local operator's key and handed in at the one door."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.errors import BadName, UnknownRun
from ledger.history import find
from ledger.installation import installation_id
from ledger.model import CANARY_TARGET, Kind, Policy
from producers.envelope import Request, sign
from producers.submit import Submitted, refuse, submit
from stepback.installation import Installation, secret
from worker.commands.needs import needed_first
from worker.fence import Holder
from worker.plan import source
from worker.plan.selection import Selection
from worker.plan.selection import read as read_selection

#: How long a command of the command line may wait for its begin: nobody is surprised by it tomorrow.
VALID_FOR = timedelta(hours=1)


def ask_rollback(
    here: Installation, *, target: str, migration: str, reason: str, accept_sha256: str | None = None
) -> Submitted:
    """Ask for a migration to be rolled back.

    Args:
        here: The installation.
        target: Configured name of the database.
        migration: What to roll back.
        reason: Why.
        accept_sha256: Hash of the impact that may go along though the plan does not name all of it.

    Raises:
        StepbackError: Any refusal; it is in the audit log.
    """
    return _ask(here, Kind.ROLLBACK, target=target, migration=migration, reason=reason, accept_sha256=accept_sha256)


def ask_recover(
    here: Installation,
    *,
    run: int,
    reason: str,
    member: str | None = None,
    selection: Selection | None = None,
    policy: Policy | None = None,
) -> Submitted:
    """Ask for a completed rollback to be undone, or one member of a composite plan, or some rows of its tables.

    Args:
        here: The installation.
        run: The rollback.
        reason: Why.
        member: Of a composite plan, the only one that is meant.
        selection: Which rows come back; None: all.
        policy: Which row wins where one meets a newer one; None: the newer one.

    Raises:
        UnknownRun: There is no such run; it is in the audit log.
        StepbackError: Any other refusal; it is there too.
    """
    chosen = selection or Selection()
    return _ask(
        here,
        Kind.RECOVER,
        target=target_of(here, run),
        migration=member,
        subject_run=run,
        reason=reason,
        policy=policy,
        conditions=dict(chosen.conditions) or None,
        report=chosen.report,
    )


def ask_purge(here: Installation, *, run: int, reason: str) -> Submitted:
    """Ask for what a run keeps to be deleted for good; whoever asks has seen what that is.

    Raises:
        UnknownRun: There is no such run; it is in the audit log.
        StepbackError: Any other refusal; it is there too.
    """
    return _ask(here, Kind.PURGE, target=target_of(here, run), subject_run=run, reason=reason)


def target_of(here: Installation, run: int) -> str:
    """Return the target of a run that something is asked about.

    Raises:
        UnknownRun: There is no such run; it is in the audit log.
    """
    try:
        with transaction(here.engine) as conn:
            return find(conn, run).target
    except UnknownRun as error:
        refuse(here.engine, actor=here.key.issuer, error=error)
        raise


def selection_of(here: Installation, run: int, member: str | None = None) -> Selection:
    """Return what the recover.sql of a run's plan, or of one member's, brings back.

    Raises:
        UnknownRun: There is no such run.
        PlanRefused: The plan has no recover.sql, or it cannot be read.
    """
    with transaction(here.engine) as conn:
        found = find(conn, run)
    migration = member or found.migration or ""
    return read_selection(source.recover_script(here.settings.target(found.target).plans, migration))


def ask_validate(here: Installation, *, target: str, reason: str, migration: str | None = None) -> Submitted:
    """Ask for the checks of a target to be looked at.

    Args:
        here: The installation.
        target: Configured name of the database.
        reason: Why.
        migration: Only what its runs have touched; None: everything.

    Raises:
        StepbackError: Any refusal; it is in the audit log.
    """
    return _ask(here, Kind.VALIDATE, target=target, migration=migration, reason=reason)


def ask_canary(here: Installation) -> Submitted:
    """Ask for nothing at all: whether it gets through is what the monitor wants to know.

    Raises:
        LedgerUnreachable, QueueUnreachable: It does not get through.
    """
    return _ask(here, Kind.CANARY, target=CANARY_TARGET, reason="the monitor's canary")


def runs_needed(here: Installation, run: int) -> tuple[int, ...]:
    """Return the runs that have to be recovered before another, in order.

    Raises:
        UnknownRun: There is no such run.
        StepbackError: The target does not answer.
    """
    with transaction(here.engine) as conn:
        target = find(conn, run).target
    with here.session(target) as session:
        return needed_first(session, Holder(installation_id(here.engine), run, 0))


def _ask(
    here: Installation,
    kind: Kind,
    *,
    target: str,
    reason: str,
    migration: str | None = None,
    subject_run: int | None = None,
    accept_sha256: str | None = None,
    policy: Policy | None = None,
    conditions: dict[str, str] | None = None,
    report: str | None = None,
) -> Submitted:
    _refuse_broken_text(here, {"target": target, "migration": migration or "", "reason": reason})
    now = datetime.now(UTC)
    request = Request(
        kind=kind,
        target=target,
        migration=migration,
        subject_run=subject_run,
        accept_sha256=accept_sha256,
        policy=policy,
        conditions=conditions,
        report=report,
        reason=reason,
        command_id=uuid4(),
        audience=str(installation_id(here.engine)),
        issuer=here.key.issuer,
        issued_at=now,
        not_after=now + VALID_FOR,
    )
    redis = here.settings.redis
    broker = open_doorbell(secret(redis.url), namespace=redis.namespace)
    try:
        return submit(
            sign(request, here.key),
            engine=here.engine,
            broker=broker,
            settings=here.settings,
            pin=partial(_pin, here),
        )
    finally:
        broker.client.close()


def _refuse_broken_text(here: Installation, texts: dict[str, str]) -> None:
    """Refuse arguments that were not UTF-8: no signed JSON can carry them to the door."""
    for what, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            error = BadName(f"the {what} is not valid UTF-8")
            refuse(here.engine, actor=here.key.issuer, error=error)
            raise error from None


def _pin(here: Installation, target: str, migration: str) -> str:
    """Find the plan as it is at this moment."""
    with here.session(target) as session:
        return source.find(session, here.settings.target(target).plans, migration).sha256
