"""Asking for something: a request signed with the local operator's key and handed in at the one door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypedDict
from uuid import uuid4

from dramatiq.brokers.redis import RedisBroker

from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.errors import BadName, NotAwaiting, UnknownRun
from ledger.history import find
from ledger.installation import installation_id
from ledger.model import ALWAYS_APPROVED, CANARY_TARGET, Kind, Policy, Run, State
from ledger.request import Request
from ledger.statements import Approval, Cancellation
from producers import consent
from producers.envelope import sign
from producers.refusals import refuse
from producers.submit import OneWayIn, Submitted
from stepback.installation import Installation, secret
from worker.commands.needs import needed_first
from worker.fence import Holder
from worker.plan import source
from worker.plan.selection import Selection
from worker.plan.selection import read as read_selection

#: How long a command of the command line may wait for its begin: nobody is surprised by it tomorrow.
VALID_FOR = timedelta(hours=1)
#: One that somebody else has to approve may wait for them.
VALID_FOR_LONG = timedelta(hours=24)


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


def approve(here: Installation, *, run: int, reason: str, impact_sha256: str | None = None) -> Run:
    """Let a run go on that waits for an approval, and return it as it stands then.

    Args:
        here: The installation.
        run: Its number.
        reason: Why it may.
        impact_sha256: The impact that is meant; None: the one that the run waits with.

    Raises:
        StepbackError: Any refusal; it is in the audit log.
    """
    found = _find(here, run)
    impact = impact_sha256 or found.impact_sha256
    if found.state is not State.AWAITING_APPROVAL or impact is None:
        error = NotAwaiting(f"run {run} is {found.state}: it does not wait for an approval")
        refuse(here.engine, actor=here.key.issuer, error=error, target=found.target, run=run)
        raise error
    _refuse_broken_text(here, {"reason": reason})
    said = Approval(
        command_id=found.command_id,
        run=run,
        target=found.target,
        plan_sha256=found.plan_sha256,
        impact_sha256=impact,
        reason=reason,
        **_common(here, VALID_FOR),
    )
    with doorbell(here) as broker:
        return consent.approve(
            sign(said, here.key), engine=here.engine, broker=broker, settings=here.settings, via="command_line"
        )


def cancel(here: Installation, *, run: int, reason: str) -> Run:
    """Stop a run before it changes anything, and return it as it stands then.

    Raises:
        StepbackError: Any refusal; it is in the audit log.
    """
    found = _find(here, run)
    _refuse_broken_text(here, {"reason": reason})
    said = Cancellation(
        command_id=found.command_id, run=run, target=found.target, reason=reason, **_common(here, VALID_FOR)
    )
    return consent.cancel(sign(said, here.key), engine=here.engine, settings=here.settings, via="command_line")


def target_of(here: Installation, run: int) -> str:
    """Return the target of a run that something is asked about.

    Raises:
        UnknownRun: There is no such run; it is in the audit log.
    """
    return _find(here, run).target


def _find(here: Installation, run: int) -> Run:
    try:
        with transaction(here.engine) as conn:
            return find(conn, run)
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
        **_common(here, VALID_FOR_LONG if kind in ALWAYS_APPROVED else VALID_FOR),
    )
    with doorbell(here) as broker:
        way_in = OneWayIn(here.engine, broker, here.settings, partial(_pin, here), via="command_line")
        return way_in.submit(sign(request, here.key))


class _Common(TypedDict):
    audience: str
    issuer: str
    issued_at: datetime
    not_after: datetime


def _common(here: Installation, valid_for: timedelta) -> _Common:
    """Return what every statement says."""
    now = datetime.now(UTC)
    return _Common(
        audience=str(installation_id(here.engine)), issuer=here.key.issuer, issued_at=now, not_after=now + valid_for
    )


@contextmanager
def doorbell(here: Installation) -> Iterator[RedisBroker]:
    """Give the doorbell of an installation."""
    redis = here.settings.redis
    broker = open_doorbell(secret(redis.url), namespace=redis.namespace)
    try:
        yield broker
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
