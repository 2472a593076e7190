"""How one kept object comes back: its statements, what they explain to the proof, what follows after COMMIT."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace

from worker.commands.filling import Fills
from worker.commands.meeting import Meetings
from worker.commands.obstacles import inside
from worker.objects import (
    altered,
    column,
    family,
    inheritance,
    ownership,
    partition_constraints,
    retyped,
    sequence,
    table,
)
from worker.objects import type as type_
from worker.objects.keeping import Action, Address, Item, Permits, merge
from worker.registry import Kept
from worker.target import Session
from worker.work import Change, FinishStep

_STILL_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s AND indexrelid = to_regclass(%s)"


def as_it_stands(session: Session, kept: Kept) -> Kept:
    """Return an object that comes back; an index that was to go CONCURRENTLY, and did not, is there."""
    facts = kept.definition["facts"]
    if kept.kind != "index" or kept.how != "defined":
        return kept
    if not session.value(_STILL_VALID, (kept.address.objid, facts["must_be_free"][0])):
        return kept
    return replace(kept, definition={**kept.definition, "restore": [], "facts": {}})


def bring_back(session: Session, kept: Kept, meetings: Meetings, fills: Fills) -> Change:
    """Return the change that brings an object back, with what becomes of newer rows that it meets."""
    statements = list(kept.definition["restore"])
    facts = kept.definition["facts"]
    fill = fills.of(kept)
    if fill is not None:
        # The column is there, and so are its values: it gets its name, and all else that belongs to it.
        statements = [*fill.rename(facts["column"]), *statements[1 : len(statements) - facts.get("values", 0)]]
    elif facts.get("brings_values"):
        relation = session.value("SELECT to_regclass(%s)::oid::bigint", (facts["table"],))
        # While a later stage is foreseen, its table may not be back yet.
        off, on = ((), ()) if relation is None else column.firing(session, relation)
        statements = [*off, *statements, *meetings.after(session, kept), *on]
    if "what" in facts:
        statements = list(altered.back(session, kept.address, statements, facts))
    elif "grants" in facts:
        # Grants on columns last: what is revoked from the whole is revoked from its columns.
        statements = [*statements, *ownership.grants(session, facts["grants"]), *facts.get("column_grants", [])]
    return Change(step(kept), tuple(statements), may_be_left=may_be_left(kept), evaluates=True)


def may_be_left(kept: Kept) -> bool:
    """Whether rows that were written since may forbid it, by what the server holds against every row."""
    return kept.kind == "rows" or (kept.how == "defined" and kept.kind in _RULES)


#: Of definitions, those that the server holds against every row.
_RULES = frozenset({"table constraint", "index"})


def rules(kept: Kept) -> tuple[Change, ...]:
    """Return what makes columns NOT NULL again, where that is no constraint of its own."""
    found = kept.definition["facts"].get("rules", [])
    return tuple(
        Change(f"hold rows to it: {statement}", (statement,), may_be_left=True, evaluates=True) for statement in found
    )


def step(kept: Kept) -> str:
    """Return what the step is called."""
    does = {"moved": "move back", "copied": "give back", "defined": "make again", "changed": "change back"}[kept.how]
    return f"{does} {kept.kind} {kept.name}"


def permits(session: Session, kept: Kept) -> Permits:
    """Return the catalog rows that its change explains to the proof."""
    facts = kept.definition["facts"]
    if facts.get("retyped"):
        return retyped.permits(session, kept.address)
    if "what" in facts:
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
        table = session.value("SELECT to_regclass(%s)::oid::bigint", (facts["table"],))
        return merge([column.rewritten(session, oid) for oid in family.with_partitions(session, {table})])
    touched = [Address("pg_class", relation, number) for relation, number in facts.get("touches", [])]
    columns = [each for address in touched for each in family.columns(session, address)]
    joining = merge([partition_constraints.joining(session, address) for address in touched])
    return {**joining, **dict.fromkeys(columns, frozenset({"atthasdef", "attnotnull"}))}


def written(session: Session, kept: Sequence[Kept]) -> set[int]:
    """Return the tables of the application, by OID, that values are given back to."""
    names = {k.definition["facts"]["table"] for k in kept if k.definition["facts"].get("brings_values")}
    found = {session.value("SELECT to_regclass(%s)::oid::bigint", (name,)) for name in names}
    return family.with_partitions(session, {oid for oid in found if oid is not None})


def finish_step(kept: Kept, statement: str, quarantine: str, back: Collection[int]) -> FinishStep:
    """Return what is done about it after COMMIT."""
    name = f"finish {kept.kind} {kept.name}"
    relation, constraint = kept.definition["facts"].get("validates") or (None, None)
    if relation not in back:
        # Rows of a table that stayed were written by the application: they are not ours to set aside.
        return FinishStep(name, "sql", statement)
    told = {
        "statement": statement,
        "relation": relation,
        "constraint": constraint,
        "quarantine": quarantine,
        "migration": kept.migration,
    }
    return FinishStep(name, "validate", json.dumps(told))


def looking_for_rows(kept: Kept) -> FinishStep | None:
    """Return the step that counts rows which are gone since, and whose values stay preserved; after COMMIT."""
    facts = kept.definition["facts"]
    if kept.how != "copied" or not facts.get("column") or not facts.get("brings_values") or not facts.get("key"):
        return None
    told = {"table": facts["table"], "inside": inside(kept), "key": facts["key"], "name": kept.name}
    return FinishStep(f"look for the rows of {kept.name}", "rows", json.dumps(told))


def item(kept: Kept, subject: int) -> Item:
    """Return what the impact of the recovery says of it."""
    relation = kept.address.objid if kept.address.catalog == "pg_class" else None
    return Item(kept.address, kept.kind, kept.name, f"run {subject} keeps it", Action(kept.how), relation=relation)
