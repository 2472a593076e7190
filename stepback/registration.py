"""Putting plans into a target's registry: each is read and judged first, then all are written or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.audit import append
from ledger.database import transaction
from ledger.errors import NotPossible, PlanRefused, Refused, StepbackError
from ledger.model import Event, Json
from producers.refusals import refuse
from stepback.installation import Installation
from worker import gates, registry
from worker.plan import selection, source
from worker.plan.parse import parse, parse_finish
from worker.plan.source import Plan
from worker.target import Session


@dataclass(frozen=True)
class Registered:
    """What came of one plan."""

    migration: str
    plan_sha256: str
    #: "registered", "changed" (another plan stood there) or "unchanged".
    outcome: str
    #: Why a rollback would not find this very plan, if so.
    warning: str | None


def register(here: Installation, target: str, paths: Sequence[Path]) -> tuple[Registered, ...]:
    """Validate plans and put them in the registry of a target, all or none; what is written is audited.

    Args:
        here: The installation.
        target: The target's configured name.
        paths: Each is a plan folder, or holds some.

    Raises:
        Refused: A path holds no plan, a plan cannot be made safe, or the target cannot take it; it is audited too.
    """
    actor = here.key.issuer
    try:
        folder = here.settings.target(target).plans
        plans = [_read(each) for path in paths for each in _folders(path)]
        with here.session(target) as session:
            registered = _register(session, plans, folder)
    except Refused as error:
        refuse(here.engine, actor=actor, error=error, target=target)
        raise
    with transaction(here.engine) as conn:
        for each in registered:
            if each.outcome != "unchanged":
                append(conn, _event(actor, target, each))
    return registered


def _register(session: Session, plans: Sequence[Plan], folder: Path | None) -> tuple[Registered, ...]:
    with session.transaction():
        # Two who register the same plan at once would write two rows.
        session.execute("LOCK TABLE public.migration_rollbacks IN SHARE ROW EXCLUSIVE MODE")
        outcomes = [_write(session, plan) for plan in plans]
        warnings = [_warning(session, plan, folder) for plan in plans]
    return tuple(
        Registered(plan.migration, plan.sha256, outcome, warning)
        for plan, outcome, warning in zip(plans, outcomes, warnings, strict=True)
    )


def _event(actor: str, target: str, registered: Registered) -> Event:
    detail: dict[str, Json] = {"migration": registered.migration, "plan_sha256": registered.plan_sha256}
    return Event("plan_registered", actor=actor, outcome=registered.outcome, target=target, detail=detail)


def _folders(path: Path) -> Iterator[Path]:
    # Resolved, so that the folder `.` has a name.
    path = path.resolve()
    if source.is_plan(path):
        yield path
        return
    inside = sorted(entry for entry in path.glob("*/") if source.is_plan(entry))
    if not inside:
        raise PlanRefused("no plan is there: a plan is a folder with a rollback.sql, named like its migration")
    yield from inside


def _read(folder: Path) -> Plan:
    plan = source.read_folder(folder)
    try:
        if not plan.members:
            parse(plan.rollback_sql)
        if plan.verify_sql is not None:
            gates.read(plan.verify_sql)
        if plan.finish_sql is not None:
            parse_finish(plan.finish_sql)
        if (folder / "recover.sql").is_file():
            selection.read(source.recover_script(folder.parent, plan.migration))
    except PlanRefused as error:
        raise PlanRefused(f"plan {plan.migration}: {error.message}") from error
    return plan


def _write(session: Session, plan: Plan) -> str:
    row = session.row(
        "SELECT id, rollback_status AS status, plan_sha256, run FROM public.migration_rollbacks"
        " WHERE migration_name = %s ORDER BY (rollback_status IS NOT DISTINCT FROM 'completed'), id DESC LIMIT 1",
        (plan.migration,),
    )
    if row is not None and row["plan_sha256"] == plan.sha256:
        return "unchanged"
    if row is not None and row["status"] == "in_progress":
        raise NotPossible(f"{plan.migration} is being rolled back by run {row['run']}; register it when that has ended")
    # A completed row is history: the new plan is for the next time.
    if row is None or row["status"] == "completed":
        registry.ensure_row(session, plan.migration, plan.rollback_sql, plan.sha256)
        return "registered" if row is None else "changed"
    session.execute(
        "UPDATE public.migration_rollbacks SET rollback_sql = %s, plan_sha256 = %s, rollback_status = 'pending',"
        " rollback_notes = 'registered anew' WHERE id = %s",
        (plan.rollback_sql, plan.sha256, row["id"]),
    )
    return "changed"


def _warning(session: Session, plan: Plan, folder: Path | None) -> str | None:
    """Look for the plan as a rollback from here would."""
    try:
        found = source.find(session, folder, plan.migration)
    except StepbackError as error:
        return error.message
    return None if found.sha256 == plan.sha256 else "the target's folder of plans holds another plan of this name"
