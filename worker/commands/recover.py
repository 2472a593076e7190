"""Recover a rollback: what it moved moves back, what it wrote down is made again, values return to their rows."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import Conflict, ImpactNotAccepted, NothingToRecover
from ledger.model import Command
from worker import fence, registry
from worker.commands.backup_views import drop_views
from worker.commands.locks import locks_of, relation_names
from worker.commands.obstacles import refuse_conflicts, refuse_foreign_needs
from worker.commands.rollback import counting_steps
from worker.fence import Holder
from worker.objects import altered, column, inheritance, ownership, retyped, sequence, table
from worker.objects import type as type_
from worker.objects.keeping import GONE, Action, Address, Item, Keeping, Permits, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.plan.compile import compile_removal
from worker.plan.impact import hash_of, of_addresses
from worker.registry import Kept
from worker.target import Row, Session
from worker.work import Change, FinishStep, Lock, Stage, Work


class Recover:
    """Prepares and records one recovery."""

    def __init__(self, command: Command, holder: Holder) -> None:
        assert command.subject_run is not None  # noqa: S101 - the ledger's commands_subject_run_check
        self._subject = command.subject_run
        self._holder = holder
        self._kept: list[Kept] = []
        self._groups: list[list[Kept]] = []
        self._emptied: list[str] = []
        #: Takes what the rollback created: nothing is destroyed on the way back either.
        self._quarantine = Quarantine(holder.run, command.command_id)
        self._retired: tuple[Keeping, ...] = ()
        self._recorded = 0

    def prepare(self, session: Session) -> Work:
        """Look at what the run keeps and say how it comes back, in reverse order.

        Raises:
            NothingToRecover: The run keeps nothing that is still to come back; the message says why.
            Conflict: Something stands in the way, or something needed is gone; the message lists it.
        """
        subject = Holder(self._holder.installation, self._subject, 0)
        marker = fence.look_up(session, subject)
        self._kept = registry.kept_by(session, subject, self._subject)
        if marker is None or not self._kept:
            raise NothingToRecover(_why_nothing(session, subject, completed=marker is not None))
        refuse_conflicts(session, self._kept)
        refuse_foreign_needs(session, self._kept)
        quarantine = sorted({kept.quarantine for kept in self._kept if kept.quarantine is not None})
        views, view_permits = drop_views(session, quarantine)
        self._emptied = _emptied(session, self._kept)
        self._groups = _grouped(self._kept)
        self._recorded = 0
        first = self._restore(session, 0)
        items = tuple(_item(kept, self._subject) for kept in self._kept)
        return Work(
            items=items,
            impact_sha256=hash_of(items),
            plan_sha256=None,
            locks=_locks(session, self._kept),
            changes=(*views, *first.changes),
            later=tuple(self._foresee(session, group) for group in self._groups[1:]),
            permits=merge([first.permits, view_permits]),
            writes=first.writes,
            finish=_finish(self._kept),
            registry_id=marker.registry_id,
            outcome_status="recovered",
        )

    def registry_row(self, session: Session) -> int | None:
        """Return the row of the rollback that is being recovered."""
        marker = fence.look_up(session, Holder(self._holder.installation, self._subject, 0))
        return None if marker is None else marker.registry_id

    def record(self, session: Session, work: Work) -> None:
        """Write down that the objects are back."""
        assert len(work.items) == len(self._kept)  # noqa: S101 - one item each
        session.execute(
            "UPDATE emergency_backup.preserved_objects SET recovered_by = %s, recovered_at = clock_timestamp()"
            " WHERE id = ANY (%s)",
            (self._holder.run, [kept.id for kept in self._kept]),
        )

    def stage(self, session: Session, number: int) -> Stage:
        """Bring back, or take away what the rollback created, on the catalog as it is by now."""
        if _is_created(self._groups[number]):
            return self._retire(session, self._groups[number])
        return self._restore(session, number)

    def record_stage(self, session: Session, number: int, created: Sequence[Row]) -> tuple[FinishStep, ...]:
        """Write down what was taken away, as this run's."""
        assert number < len(self._groups)  # noqa: S101 - a stage of ours
        del created  # They are what the rollback removed.
        names = relation_names(session, {oid for keeping in self._retired for oid in keeping.locks})
        registry.preserve(session, self._holder, self._retired, names, self._recorded)
        self._recorded += len(self._retired)
        counting = counting_steps(self._retired)
        self._retired = ()
        return counting

    def _restore(self, session: Session, number: int) -> Stage:
        group = self._groups[number]
        closing = self._emptied if number == len(self._groups) - 1 else []
        return Stage(
            (
                *(_bring_back(session, kept) for kept in group),
                *(Change(f"close {name}", (f"DROP SCHEMA {quoted(name)}",)) for name in closing),
            ),
            merge([*(_permits(session, kept) for kept in group), _schemas(session, closing)]),
            frozenset(_written(session, group)),
        )

    def _retire(self, session: Session, group: Sequence[Kept]) -> Stage:
        known = len(self._quarantine.names)
        self._retired = _retired(session, group, self._quarantine)
        closing = self._emptied if group is self._groups[-1] else []
        return Stage(
            (
                *(Change(f"create {n}", (f"CREATE SCHEMA {quoted(n)}",)) for n in self._quarantine.names[known:]),
                *(Change(f"take away {keeping.item.label()}", keeping.remove) for keeping in self._retired),
                *(Change(f"close {name}", (f"DROP SCHEMA {quoted(name)}",)) for name in closing),
            ),
            merge([*(keeping.permits for keeping in self._retired), _schemas(session, closing)]),
        )

    def _foresee(self, session: Session, group: Sequence[Kept]) -> tuple[Change, ...]:
        """Say what a later stage will do, and refuse early what it could not."""
        if _is_created(group):
            changed = frozenset(kept.address for kept in self._kept)
            retired = _retired(session, group, Quarantine(self._holder.run, self._quarantine.command_id), changed)
            return tuple(Change(f"take away {keeping.item.label()}", keeping.remove) for keeping in retired)
        return tuple(_bring_back(session, kept) for kept in group)


def _is_created(group: Sequence[Kept]) -> bool:
    return any(kept.how == "created" for kept in group)


#: What may give a table its place or its name again.
_NAMING = frozenset({"moved", "changed"})


def _grouped(kept: Sequence[Kept]) -> list[list[Kept]]:
    """Return what comes back in order, each group compiled when those before it are back; the first may be empty.

    Apart is what the rollback created, and values whose table has neither its place nor its name again before.
    """
    groups: list[list[Kept]] = [[]]
    for entry in reversed(kept):
        apart = (entry.how == "created") != _is_created(groups[-1])
        awaits = entry.definition["facts"].get("brings_values") and any(e.how in _NAMING for e in groups[-1])
        if awaits or (apart and (groups[-1] or entry.how == "created")):
            groups.append([])
        groups[-1].append(entry)
    return groups


def _retired(
    session: Session, group: Sequence[Kept], quarantine: Quarantine, changed: frozenset[Address] = frozenset()
) -> tuple[Keeping, ...]:
    """Say how what a rollback created is kept when it goes; what somebody has dropped since is left out.

    What is `changed` back before does not depend on it any more by then.

    Raises:
        Conflict: Something of others depends on it by now.
    """
    there = [kept.address for kept in group if _still_there(session, kept.address)]
    try:
        impact = of_addresses(session, there, "the rollback created it", changed)
    except ImpactNotAccepted as error:
        raise Conflict(f"what the rollback created is in use by now: {error.message}") from error
    return compile_removal(session, impact, quarantine)


def _still_there(session: Session, address: Address) -> bool:
    found = session.value(
        "SELECT identity FROM pg_identify_object(%s::regclass, %s, %s) WHERE identity NOT LIKE 'emergency\\_backup%%'",
        (f"pg_catalog.{address.catalog}", address.objid, address.subid),
    )
    return found is not None


def _why_nothing(session: Session, subject: Holder, *, completed: bool) -> str:
    if not completed:
        return f"run {subject.run} never completed on this target, so it keeps nothing"
    by = session.value(
        "SELECT max(recovered_by) FROM emergency_backup.preserved_objects WHERE installation = %s AND run = %s",
        (subject.installation, subject.run),
    )
    if by is not None:
        return f"run {subject.run} was recovered already, by run {by}"
    return f"run {subject.run} keeps nothing; only a rollback can be recovered"


_WHERE = "SELECT coalesce((SELECT oid FROM pg_class WHERE oid = %s), to_regclass(%s))::bigint"


def _locks(session: Session, kept: Sequence[Kept]) -> tuple[Lock, ...]:
    """Lock what the rollback locked, wherever it is now, and the tables that it created or created something on."""
    oids = {session.value(_WHERE, (oid, name)) for k in kept for name, oid in k.definition["locks"]}
    oids |= {k.definition["facts"]["table"] for k in kept if k.how == "created"}
    return locks_of(session, dict.fromkeys((oid for oid in oids if oid is not None), "ACCESS EXCLUSIVE"))


def _bring_back(session: Session, kept: Kept) -> Change:
    statements = list(kept.definition["restore"])
    facts = kept.definition["facts"]
    if facts.get("brings_values"):
        relation = session.value("SELECT to_regclass(%s)::oid::bigint", (facts["table"],))
        # While a later stage is foreseen, its table may not be back yet.
        off, on = ((), ()) if relation is None else column.firing(session, relation)
        statements = [*off, *statements, *on]
    if kept.how == "changed" and not facts.get("retyped"):
        statements = list(altered.back(session, kept.address, statements, facts))
    elif "grants" in facts:
        # Grants on columns last: what is revoked from the whole is revoked from its columns.
        statements = [*statements, *ownership.grants(session, facts["grants"]), *facts.get("column_grants", [])]
    verb = {"moved": "move back", "copied": "give back", "defined": "make again", "changed": "change back"}[kept.how]
    return Change(f"{verb} {kept.kind} {kept.name}", tuple(statements))


def _permits(session: Session, kept: Kept) -> Permits:
    if kept.definition["facts"].get("retyped"):
        return retyped.permits(session, kept.address)
    if kept.how == "changed":
        facts = kept.definition["facts"]
        return altered.permits(session, facts["what"], kept.address, facts["detail"])
    if kept.how == "moved":
        oid = kept.address.objid
        if kept.kind == "sequence":
            return sequence.moved(session, oid)
        return type_.moved(session, oid) if kept.address.catalog == "pg_type" else table.moved(session, oid)
    return _permits_of_facts(session, kept)


def _permits_of_facts(session: Session, kept: Kept) -> Permits:
    facts = kept.definition["facts"]
    if "stand_ins" in facts:
        return {**inheritance.dismissed(session, facts["stand_ins"]), **inheritance.untied(kept.address.objid)}
    if "changes" in facts:
        return {Address(at, oid, sub): frozenset(columns) for at, oid, sub, *columns in facts["changes"]}
    if facts.get("rewrites"):
        return column.rewritten(session, session.value("SELECT to_regclass(%s)::oid::bigint", (facts["table"],)))
    touched = facts.get("touches", [])
    return {
        Address("pg_class", relation, number): frozenset({"atthasdef", "attnotnull"}) for relation, number in touched
    }


def _emptied(session: Session, kept: Sequence[Kept]) -> list[str]:
    """Return the quarantine schemas that hold nothing once this is back; copies stay where they are."""
    copies = {k.quarantine for k in kept if k.how == "copied"}
    candidates = sorted({k.quarantine for k in kept if k.quarantine is not None} - copies)
    return [name for name in candidates if session.value("SELECT to_regnamespace(%s)", (quoted(name),)) is not None]


def _schemas(session: Session, names: Sequence[str]) -> Permits:
    found = session.rows("SELECT oid::bigint FROM pg_namespace WHERE nspname = ANY (%s)", (list(names),))
    return {Address("pg_namespace", row["oid"]): GONE for row in found}


def _written(session: Session, kept: Sequence[Kept]) -> set[int]:
    names = {k.definition["facts"]["table"] for k in kept if k.definition["facts"].get("brings_values")}
    return {session.value("SELECT to_regclass(%s)::oid::bigint", (name,)) for name in names}


def _finish(kept: Sequence[Kept]) -> tuple[FinishStep, ...]:
    return tuple(
        FinishStep(f"finish {k.kind} {k.name}", "sql", statement)
        for k in reversed(kept)
        for statement in k.definition["finish"]
    )


def _item(kept: Kept, subject: int) -> Item:
    relation = kept.address.objid if kept.address.catalog == "pg_class" else None
    return Item(kept.address, kept.kind, kept.name, f"run {subject} keeps it", Action(kept.how), relation=relation)
