"""What stands in the way of a recovery, found before anything is touched: names taken again, things gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ledger.errors import Conflict, RecoverFirst
from worker.commands import conflicts
from worker.objects import column, whole_rows
from worker.objects.keeping import Address, quoted
from worker.registry import Kept
from worker.target import Session

#: Whether a name is taken, by something other than what the recovery itself takes away, with its parts, or renames.
_TAKEN = """
WITH RECURSIVE whole (classid, objid, subid) AS (
    SELECT 'pg_class'::regclass::oid, to_regclass(%(name)s)::oid, 0
    UNION
    SELECT d.refclassid, d.refobjid, d.refobjsubid
      FROM whole AS w JOIN pg_depend AS d ON d.classid = w.classid AND d.objid = w.objid AND d.deptype IN ('a', 'i')
)
SELECT to_regclass(%(name)s) IS NOT NULL AND NOT to_regclass(%(name)s)::oid = ANY (%(freed)s::oid[])
   AND NOT EXISTS (SELECT FROM whole AS w JOIN unnest(%(catalogs)s::regclass[], %(oids)s::oid[], %(subids)s::integer[])
                            AS gone (classid, objid, subid) ON gone.classid = w.classid AND gone.objid = w.objid
                      AND gone.subid IN (0, w.subid))
"""


#: The same for a type, which may be that of a table or view.
_TYPE_TAKEN = """
SELECT EXISTS (SELECT FROM pg_type WHERE oid = to_regtype(%s)
                  AND NOT oid = ANY (%s::oid[]) AND NOT typrelid = ANY (%s::oid[]))
"""


def refuse_conflicts(session: Session, kept: Sequence[Kept], hint: str = "") -> None:
    """Find what stands in the way before anything is touched.

    Args:
        session: In the target.
        kept: What comes back.
        hint: What helps where a name is taken.

    Raises:
        Conflict: It lists what was found.
    """
    problems: list[str] = []
    # By the time that they are needed they will have their names again.
    ours = {k.address.objid for k in kept if k.how in ("created", "changed", "moved")}
    made = {facts["schema_must_be_free"] for k in kept if "schema_must_be_free" in (facts := k.definition["facts"])}
    back = {name for k in kept for name in k.definition["facts"].get("must_be_free", [])}
    taken = names_taken(session, kept)
    for k in kept:
        facts = k.definition["facts"]
        problems.extend(_gone(session, k, made))
        problems.extend(conflicts.of_needs(session, f"{k.kind} {k.name}", facts))
        problems.extend(taken[k.id])
        problems.extend(conflicts.of_parts(session, facts.get("also_must_be_free", [])))
        problems.extend(conflicts.of_schema(session, facts.get("schema_must_be_free")))
        if "bound" in facts:
            problems.extend(conflicts.of_partition(session, k.name, facts))
        if k.kind == "rows":
            problems.extend(_row_conflicts(session, k, kept))
        if "column" in facts:
            problems.extend(_column_conflicts(session, k, kept))
        problems.extend(
            f"table {name}, which {k.kind} {k.name} belongs to or refers to, does not exist"
            for name, oid in (*k.definition["locks"], *((need, 0) for need in [facts.get("needs")] if need is not None))
            if oid not in ours
            and oid not in facts.get("partitions", [])
            and name not in back
            and session.value("SELECT to_regclass(%s)", (name,)) is None
        )
    if problems:
        told = "; ".join(dict.fromkeys(problems))
        raise Conflict(f"cannot be brought back as it was: {told}" + (f"; {hint}" if "exists again" in told else ""))


def names_taken(session: Session, kept: Sequence[Kept]) -> dict[int, list[str]]:
    """Return for each object, by the number under which it is preserved, which of its names are taken again."""
    freed = [k.address.objid for k in kept if k.how in ("created", "changed")]
    leaving = _addresses({k.address for k in kept if k.how == "created"})
    found: dict[int, list[str]] = {}
    for k in kept:
        facts = k.definition["facts"]
        problems = found[k.id] = [
            f"{name} exists again"
            for name in facts.get("must_be_free", [])
            if session.value(_TAKEN, {"name": name, "freed": freed, **leaving})
        ]
        taken = facts.get("type_must_be_free")
        if taken is not None and session.value(_TYPE_TAKEN, (taken, freed, freed)):
            problems.append(f"type {taken} exists again")
        routine = facts.get("routine_must_be_free")
        if routine is not None and session.value(_ROUTINE_THERE, (*routine, freed)):
            problems.append(f"{k.kind} {k.name} exists again")
    return found


def _addresses(addresses: Collection[Address]) -> dict[str, list[str] | list[int]]:
    return {
        "catalogs": [f"pg_catalog.{address.catalog}" for address in addresses],
        "oids": [address.objid for address in addresses],
        "subids": [address.subid for address in addresses],
    }


#: Told by how they are written: a type that an argument had may be gone.
_ROUTINE_THERE = (
    "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = %s AND oid::regprocedure::text = %s"
    " AND NOT oid = ANY (%s::oid[]))"
)

_FOREIGN_NEEDS = """
SELECT DISTINCT coalesce(e.oid, t.oid)::regtype::text AS type, coalesce(e.oid, t.oid)::bigint AS oid,
       (regexp_match(n.nspname, '^emergency_backup_r([0-9]+)_'))[1]::bigint AS run
  FROM pg_depend AS d
  JOIN pg_type AS t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
  LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
  JOIN pg_namespace AS n ON n.oid = t.typnamespace
 WHERE d.classid = 'pg_class'::regclass
   AND d.objid IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name)
   AND n.nspname LIKE 'emergency\\_backup\\_r%%'
   AND NOT coalesce(e.oid, t.oid) = ANY (%(types)s::oid[])
   AND NOT coalesce(e.typrelid, t.typrelid) = ANY (%(relations)s::oid[])
 ORDER BY 3, 1
"""


def foreign_needs(session: Session, kept: Sequence[Kept]) -> list[tuple[str, int, int]]:
    """Return the types that tables or columns are of and that do not come back with them, each with its run and OID.

    That may be the same run, which keeps them for another member of a composite plan.
    """
    moved = [k.address for k in kept if k.how == "moved"]
    needs = {
        "tables": [inside(k) for k in kept if k.relation is not None],
        "types": [address.objid for address in moved if address.catalog == "pg_type"],
        "relations": [address.objid for address in moved if address.catalog == "pg_class"],
    }
    return [(row["type"], row["run"], row["oid"]) for row in session.rows(_FOREIGN_NEEDS, needs)]


def refuse_foreign_needs(session: Session, kept: Sequence[Kept]) -> None:
    """See that no table or column comes back while a type that it is of stays in quarantine.

    Raises:
        RecoverFirst: Names the types and the runs.
    """
    found = foreign_needs(session, kept)
    if found:
        told = ", ".join(f"{type_} (run {run})" for type_, run, _oid in found)
        raise RecoverFirst(
            f"types that are needed are kept elsewhere: {told}; recover that first, or ask with --with-dependencies"
        )


def _gone(session: Session, kept: Kept, made: Collection[str]) -> list[str]:
    """Say what has gone since: the kept object itself, or the schema that it stood in unless that is made again."""
    facts, problems = kept.definition["facts"], list[str]()
    there = "SELECT to_regclass(%s)" if kept.address.catalog != "pg_type" else "SELECT to_regtype(%s)"
    names = [*facts.get("stand_ins", []), *([facts["position"]] if "position" in facts else [])]
    if kept.relation is not None:
        names.append(inside(kept))
    elif kept.how == "moved":
        names.append(place(kept))
    problems.extend(
        f"{kept.kind} {kept.name} is no longer in {kept.quarantine}"
        for name in names
        if session.value(there, (name,)) is None
    )
    schema = facts.get("schema")
    if (
        schema is not None
        and schema not in made
        and session.value("SELECT to_regnamespace(%s)", (quoted(schema),)) is None
    ):
        problems.append(f"schema {schema} does not exist any more")
    return problems


def _column_conflicts(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> list[str]:
    """Say what is in the way of a column, when what the rollback did afterwards is undone."""
    facts = kept.definition["facts"]
    columns = _columns_before(session, kept, all_kept)
    problems = [f"column {facts['column']} of {facts['table']} exists again"] if facts["column"] in columns else []
    key, beside = facts["key"], facts.get("beside", [])
    if columns and not {*key, *beside} <= set(columns):
        if _is_undone(kept, all_kept):
            return problems
        lost = ", ".join(sorted({*key, *beside} - set(columns)))
        return [*problems, f"{facts['table']} has lost {lost}, which its values are kept by"]
    if columns and not key and facts.get("brings_values"):
        new, gone = whole_rows.changed_since(session, facts["table"], inside(kept), beside)
        if new and gone:
            problems.append(
                f"{min(new, gone)} row(s) of {facts['table']} were changed since, and without a key nobody can tell"
                f" which value of column {facts['column']} belongs to which; it is kept in {inside(kept)}"
            )
    if columns and key and facts.get("required"):
        new = column.rows_since(session, facts["table"], inside(kept), key)
        if new:
            problems.append(
                f"{facts['table']} has {new} row(s) inserted since, and column {facts['column']} is NOT NULL without a"
                " default: give it one of its own in a migration, or remove these rows"
            )
    return problems


def is_column_again(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> bool:
    """Whether a column is there again, other than one that the recovery itself takes away or renames before."""
    return kept.definition["facts"]["column"] in _columns_before(session, kept, all_kept)


def _columns_before(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> list[str]:
    """Return the names of a table's columns, without those that go, or get another, before a column comes back."""
    going = {
        k.address
        for k in all_kept
        if k.how == "created" or (k.definition["facts"].get("what") == "name" and k.ordinal > kept.ordinal)
    }
    found = column.of_table(session, kept.definition["facts"]["table"])
    return [row["name"] for row in found if Address("pg_class", row["relation"], row["number"]) not in going]


def _row_conflicts(session: Session, kept: Kept, all_kept: Sequence[Kept]) -> list[str]:
    """Say which columns rows have lost since."""
    facts = kept.definition["facts"]
    found = column.of_table(session, facts["table"])
    lost = {*facts.get("own", ())} - {row["name"] for row in found}
    if not found or not lost or _is_undone(kept, all_kept):
        return []
    return [f"{kept.name} has lost {', '.join(sorted(lost))}, which the rows of {inside(kept)} have"]


def _is_undone(kept: Kept, all_kept: Sequence[Kept]) -> bool:
    """Whether the run itself has changed other columns of the table since, which come back first."""
    others = (k for k in all_kept if k is not kept and k.relation != kept.relation)
    return any(
        k.address.catalog == "pg_class" and k.address.objid == kept.address.objid and k.address.subid for k in others
    )


def place(kept: Kept) -> str:
    """Return where a moved object is now."""
    return quoted(kept.quarantine or "", kept.definition["facts"]["name"])


def inside(kept: Kept) -> str:
    """Return the table in quarantine that holds an object's rows."""
    assert kept.quarantine is not None and kept.relation is not None  # noqa: S101, PT018 - the caller looked
    return quoted(kept.quarantine, kept.relation)
