"""What is there again when a run is recovered, since the migration was applied again.

Tables and columns are merged (merging.py); of definitions, types and sequences the newer ones stay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.errors import Conflict
from worker.commands import merging
from worker.commands.merging import Merge
from worker.commands.obstacles import foreign_needs, is_column_again, names_taken
from worker.objects import rows
from worker.objects.keeping import literal, quoted
from worker.registry import Kept
from worker.target import Session


@dataclass(frozen=True)
class Again:
    """What a run keeps, sorted by what becomes of it."""

    coming: tuple[Kept, ...]
    merges: tuple[Merge, ...] = ()
    #: Definitions, types and sequences whose newer namesakes stay.
    staying: tuple[Kept, ...] = ()


def look(session: Session, kept: Sequence[Kept]) -> Again:
    """Sort what a run keeps by what is there again.

    Raises:
        Conflict: Something is there again that cannot be merged with what is kept.
    """
    taken = names_taken(session, kept)
    columns = _columns_again(session, kept)
    merges = [merge for k in kept if (merge := _merge(session, k, is_taken=bool(taken[k.id]), columns=columns))]
    merged = {merge.kept.id for merge in merges}
    tables = {merge.kept.address.objid for merge in merges if merge.kept.how == "moved"}
    staying = [k for k in kept if k.id not in merged and (_is_there(session, k, taken[k.id]) or _is_key_of(k, tables))]
    coming = [k for k in kept if k.id not in merged and k not in staying]
    _refuse_half(session, coming, staying, tables)
    return Again(tuple(coming), tuple(_parents_first(session, merges)), tuple(staying))


def _is_there(session: Session, kept: Kept, taken: Sequence[str]) -> bool:
    """Whether a definition, a type or a sequence is there again, so that the newer one stays."""
    if kept.how == "moved":
        return bool(taken) and (kept.kind == "sequence" or kept.address.catalog == "pg_type")
    if kept.how != "defined":
        return False
    if taken:
        return True
    named = f"(pg_identify_object({literal(f'pg_catalog.{kept.address.catalog}')}::regclass, c.oid, 0)).identity"
    there = f"SELECT FROM {quoted('pg_catalog', kept.address.catalog)} AS c WHERE c.oid <> %s AND {named} = %s"
    return bool(session.value(f"SELECT EXISTS ({there})", (kept.address.objid, kept.name)))


def _is_key_of(kept: Kept, tables: Collection[int]) -> bool:
    """Whether it is a foreign key of a table whose rows are merged: the newer table has its own, or none."""
    relation, _constraint = kept.definition["facts"].get("validates") or (None, None)
    return relation in tables


def _refuse_half(session: Session, coming: Sequence[Kept], staying: Sequence[Kept], tables: Collection[int]) -> None:
    """See that nothing comes back as it was that belongs to what does not."""
    problems = [
        f"the rollback had changed {k.kind} {k.name} as well, which exists again"
        for k in coming
        if k.how in {"changed", "created", "copied"} and {oid for _name, oid in k.definition["locks"]} & {*tables}
    ]
    old = {k.address.objid: k.name for k in staying if k.address.catalog == "pg_type"}
    problems += [
        f"type {old[oid]} exists again, and what comes back as it was is of the older one"
        for _type, _run, oid in foreign_needs(session, coming)
        if oid in old
    ]
    if problems:
        raise Conflict("cannot be merged: " + "; ".join(dict.fromkeys(problems)))


def _merge(session: Session, kept: Kept, *, is_taken: bool, columns: Collection[int]) -> Merge | None:
    if kept.id in columns:
        return merging.of_column(session, kept)
    if kept.how != "moved" or kept.kind != "table" or not is_taken:
        return None
    return merging.of_table(session, kept)


def _columns_again(session: Session, kept: Sequence[Kept]) -> set[int]:
    """Return the numbers of columns that are there again, with all others whose values are in the same table.

    Raises:
        Conflict: Only some of these are there again.
    """
    there: set[int] = set()
    by_copy: dict[tuple[str | None, str | None], list[Kept]] = {}
    for k in kept:
        if k.how == "copied" and "column" in k.definition["facts"]:
            by_copy.setdefault((k.quarantine, k.relation), []).append(k)
    for group in by_copy.values():
        again = [k for k in group if is_column_again(session, k, kept)]
        if again and len(again) < len(group):
            missing = ", ".join(k.name for k in group if k not in again)
            raise Conflict(
                f"{', '.join(k.name for k in again)} exists again, but not {missing}: they are kept together"
            )
        there |= {k.id for k in again}
    return there


def _parents_first(session: Session, merges: Sequence[Merge]) -> list[Merge]:
    """Order merges so that rows which others refer to are there before them."""
    order = rows.children_first(session, {merge.meeting.watched.oid for merge in merges})
    return sorted(merges, key=lambda merge: -order.index(merge.meeting.watched.oid))
