"""A dry run: what a rollback or a recovery would do, found by the very code that would do it; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from ledger.errors import PlanRefused, Refused
from ledger.model import Command, Kind, Policy, Run
from ledger.settings import TargetSettings
from worker.commands.foreseeing import Foreseen
from worker.commands.recover import Recover
from worker.commands.rollback import Rollback
from worker.fence import Holder
from worker.plan import source
from worker.target import Session
from worker.work import Work

#: Stands for a command that was never given; run 0 does not exist either.
_NOBODY = UUID(int=0)


@dataclass(frozen=True)
class Refusal:
    """Why a run would be refused as things stand."""

    code: str
    message: str
    line: int | None


@dataclass(frozen=True)
class Preview:
    """What `stepback plan` shows."""

    migration: str
    plan_sha256: str | None
    #: None where it would be refused, unless only because nobody accepted all of it.
    work: Work | None
    refusals: tuple[Refusal, ...]
    #: The command to type next; None where none would help.
    next: str | None = None
    #: Rows that a recovery would meet.
    conflicts: tuple[Foreseen, ...] = ()


def preview(session: Session, target: TargetSettings, name: str, migration: str) -> Preview:
    """Say what a rollback would do; changes nothing.

    Args:
        session: In the target.
        target: Its settings.
        name: Its configured name.
        migration: What would be rolled back.

    Raises:
        UnknownMigration: There is no such plan.
        TargetUnreachable: The target does not answer.
    """
    session.begin(read_only=True)
    try:
        plan_sha256 = None
        try:
            plan_sha256 = source.find(session, target.plans, migration).sha256
            work, objection = Rollback(_nobody_asks(name, migration), Holder(_NOBODY, 0, 0), target).look(session)
        except Refused as error:
            if error.code == "unknown_migration":
                raise
            line = error.line if isinstance(error, PlanRefused) else None
            return Preview(migration, plan_sha256, None, (Refusal(error.code, error.message, line),))
        typed = f"stepback rollback {migration} --target {name}"
        if objection is None:
            return Preview(migration, plan_sha256, work, (), typed)
        refusal = Refusal(objection.code, objection.message, None)
        return Preview(migration, plan_sha256, work, (refusal,), f"{typed} --accept {work.impact_sha256}")
    finally:
        session.rollback()


def preview_recovery(
    session: Session,
    installation: UUID,
    subject: Run,
    conditions: Mapping[str, str] | None = None,
    policy: Policy | None = None,
) -> Preview:
    """Say what the recovery of a run would do; changes nothing.

    Args:
        session: In the target of the run.
        installation: Whose run it is.
        subject: The run.
        conditions: Which rows would come back, by table; None: all.
        policy: Which row would win where one meets a newer one.

    Raises:
        TargetUnreachable: The target does not answer.
    """
    migration = subject.migration or ""
    command = replace(
        _nobody_asks(subject.target, migration),
        kind=Kind.RECOVER,
        subject_run=subject.run,
        conditions=conditions,
        policy=policy,
    )
    recover = Recover(command, Holder(installation, 0, 0))
    session.begin(read_only=True)
    try:
        work = recover.prepare(session)
        conflicts = recover.foresee(session)
        remarks = () if work.inspect is None else tuple(work.inspect(session))
    except Refused as error:
        return Preview(migration, None, None, (Refusal(error.code, error.message, None),))
    finally:
        session.rollback()
    typed = f"stepback recover {subject.run}" + (f" --policy {policy}" if policy is not None else "")
    return Preview(migration, None, replace(work, notes=(*work.notes, *remarks)), (), typed, conflicts)


def _nobody_asks(target: str, migration: str) -> Command:
    return Command(_NOBODY, Kind.ROLLBACK, target, migration, None, None, "", "", datetime.max.replace(tzinfo=UTC))
