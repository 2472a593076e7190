"""Recover a rollback: what it moved moves back, what it wrote down is made again, values return to their rows."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.canonical import canonical, sha256
from ledger.errors import Conflict, NothingToRecover, RecoverFirst
from ledger.model import Command
from worker import fence, registry
from worker.commands.backup_views import drop_views
from worker.fence import Holder
from worker.objects import column, ownership, table
from worker.objects import type as type_
from worker.objects.keeping import GONE, Action, Address, Item, Permits, merge, quoted
from worker.registry import Kept
from worker.target import Session
from worker.work import Change, FinishStep, Lock, Work


class Recover:
    """Prepares and records one recovery."""

    def __init__(self, command: Command, holder: Holder) -> None:
        assert command.subject_run is not None  # noqa: S101 - the ledger's commands_subject_run_check
        self._subject = command.subject_run
        self._holder = holder
        self._kept: list[Kept] = []

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
        _refuse_conflicts(session, self._kept)
        _refuse_foreign_needs(session, self._kept)
        quarantine = sorted({kept.quarantine for kept in self._kept if kept.quarantine is not None})
        views, view_permits = drop_views(session, quarantine)
        emptied = _emptied(session, self._kept)
        restored = [_bring_back(session, kept) for kept in reversed(self._kept)]
        items = tuple(_item(kept, self._subject) for kept in self._kept)
        told = sorted([item.kind, item.name, item.because, item.action.value] for item in items)
        return Work(
            items=items,
            impact_sha256=sha256(canonical([list(entry) for entry in told])),
            plan_sha256=None,
            locks=_locks(session, self._kept),
            changes=(
                *views,
                *restored,
                *(Change(f"close {name}", (f"DROP SCHEMA {quoted(name)}",)) for name in emptied),
            ),
            permits=merge(
                [*(_permits(session, kept) for kept in self._kept), view_permits, _schemas(session, emptied)]
            ),
            writes=frozenset(_written(session, self._kept)),
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


def _refuse_conflicts(session: Session, kept: Sequence[Kept]) -> None:
    """Find what stands in the way before anything is touched."""
    problems: list[str] = []
    back = {name for k in kept for name in k.definition["facts"].get("must_be_free", [])}
    for k in kept:
        facts = k.definition["facts"]
        problems.extend(_gone(session, k))
        problems.extend(
            f"{name} exists again"
            for name in facts.get("must_be_free", [])
            if session.value("SELECT to_regclass(%s)", (name,)) is not None
        )
        taken = facts.get("type_must_be_free")
        if taken is not None and session.value("SELECT to_regtype(%s)", (taken,)) is not None:
            problems.append(f"type {taken} exists again")
        routine = facts.get("routine_must_be_free")
        if routine is not None and session.value(_ROUTINE_THERE, routine):
            problems.append(f"{k.kind} {k.name} exists again")
        if "column" in facts:
            problems.extend(_column_conflicts(session, k))
        problems.extend(
            f"table {name}, which {k.kind} {k.name} belongs to or refers to, does not exist"
            for name in {*(name for name, _mode in k.definition["locks"]), facts.get("needs")} - {None}
            if name not in back and session.value("SELECT to_regclass(%s)", (name,)) is None
        )
    if problems:
        raise Conflict("cannot be brought back as it was: " + "; ".join(dict.fromkeys(problems)))


#: Told by how they are written: a type that an argument had may be gone.
_ROUTINE_THERE = "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = %s AND oid::regprocedure::text = %s)"

_FOREIGN_NEEDS = """
SELECT DISTINCT t.oid::regtype::text AS type, (regexp_match(n.nspname, '^emergency_backup_r([0-9]+)_'))[1] AS run
  FROM pg_depend AS d
  JOIN pg_type AS t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
  JOIN pg_namespace AS n ON n.oid = t.typnamespace
 WHERE d.classid = 'pg_class'::regclass
   AND d.objid IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name)
   AND n.nspname LIKE 'emergency\\_backup\\_r%%' AND NOT n.nspname::text = ANY (%(own)s)
 ORDER BY 2, 1
"""


def _refuse_foreign_needs(session: Session, kept: Sequence[Kept]) -> None:
    """See that no table or column comes back while another run keeps a type that it is of.

    Raises:
        RecoverFirst: Names the types and the runs.
    """
    needs = {
        "tables": [inside(k) for k in kept if k.relation is not None],
        "own": [k.quarantine for k in kept if k.quarantine is not None],
    }
    found = session.rows(_FOREIGN_NEEDS, needs)
    if found:
        told = ", ".join(f"{row['type']} (run {row['run']})" for row in found)
        raise RecoverFirst(f"another run keeps types that are needed: {told}; recover that run first")


def _gone(session: Session, kept: Kept) -> list[str]:
    """Say what has gone since: the kept object itself, or the schema that it stood in."""
    facts, problems = kept.definition["facts"], []
    there = "SELECT to_regclass(%s)" if kept.relation is not None else "SELECT to_regtype(%s)"
    name = inside(kept) if kept.relation is not None else quoted(kept.quarantine or "", facts.get("name", ""))
    if kept.quarantine is not None and session.value(there, (name,)) is None:
        problems.append(f"{kept.kind} {kept.name} is no longer in {kept.quarantine}")
    if "schema" in facts and session.value("SELECT to_regnamespace(%s)", (quoted(facts["schema"]),)) is None:
        problems.append(f"schema {facts['schema']} does not exist any more")
    return problems


def _column_conflicts(session: Session, kept: Kept) -> list[str]:
    facts = kept.definition["facts"]
    columns: list[str] = session.value(
        "SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (facts["table"],),
    )
    problems = [f"column {facts['column']} of {facts['table']} exists again"] if facts["column"] in columns else []
    key = facts["key"]
    if columns and not set(key) <= set(columns):
        return [*problems, f"{facts['table']} has lost the key ({', '.join(key)}) that its values are kept by"]
    if columns and facts.get("required"):
        new = column.rows_since(session, facts["table"], inside(kept), key)
        if new:
            problems.append(
                f"{facts['table']} has {new} row(s) inserted since, and column {facts['column']} is NOT NULL without a"
                " default: give it one of its own in a migration, or remove these rows"
            )
    return problems


def quoted_name(kept: Kept) -> str:
    """Return where a moved table stood before."""
    facts = kept.definition["facts"]
    return quoted(facts["schema"], facts["name"])


def inside(kept: Kept) -> str:
    """Return the table in quarantine that holds an object's rows."""
    assert kept.quarantine is not None and kept.relation is not None  # noqa: S101, PT018 - the caller looked
    return quoted(kept.quarantine, kept.relation)


def _locks(session: Session, kept: Sequence[Kept]) -> tuple[Lock, ...]:
    """Lock what the rollback locked; tables that it moved are locked where they are now."""
    now = {quoted_name(k): inside(k) for k in kept if k.how == "moved" and k.relation is not None}
    names = {now.get(name, name) for k in kept for name, _mode in k.definition["locks"]}
    oids = {name: session.value("SELECT to_regclass(%s)::oid::bigint", (name,)) for name in names}
    return tuple(Lock(oid, name) for oid, name in sorted((oid, name) for name, oid in oids.items()))


def _bring_back(session: Session, kept: Kept) -> Change:
    statements = list(kept.definition["restore"])
    facts = kept.definition["facts"]
    if facts.get("brings_values"):
        relation = session.value("SELECT to_regclass(%s)::oid::bigint", (facts["table"],))
        off, on = column.firing(session, relation)
        statements = [*off, *statements, *on]
    if "grants" in facts:
        # Grants on columns last: what is revoked from the whole is revoked from its columns.
        statements = [*statements, *ownership.grants(session, facts["grants"]), *facts.get("column_grants", [])]
    verb = {"moved": "move back", "copied": "give back", "defined": "make again"}[kept.how]
    return Change(f"{verb} {kept.kind} {kept.name}", tuple(statements))


def _permits(session: Session, kept: Kept) -> Permits:
    if kept.how == "moved":
        oid = kept.address.objid
        return type_.moved(session, oid) if kept.address.catalog == "pg_type" else table.moved(session, oid)
    facts = kept.definition["facts"]
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
