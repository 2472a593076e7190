"""What cannot be kept: objects whose shape no protocol covers are refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ledger.errors import PlanRefused
from worker.objects.keeping import Action, Address, Item
from worker.plan.closure import OWN_SCHEMA_PREFIX, Closure
from worker.target import Session

#: What sql/target puts beside the application's objects.
_OWN = (
    "public.migration_rollbacks",
    "public.rollback_status_monitor",
    "public.migration_rollbacks_record_writer()",
)

_TYPE_SHAPES = """
SELECT CASE WHEN t.typtype NOT IN ('e', 'c', 'd', 'r') THEN 'is no enum, composite, range or domain type'
            WHEN c.relkind <> 'c' THEN 'is the row type of a table' END
  FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid WHERE t.oid = %s
"""

#: A table moves whole, with its family; a part of one (a column, an index) is given back to one table alone, or to a
#: partitioned table and so to all of its partitions.
_SHAPES = """
SELECT CASE
    WHEN c.relpersistence = 't' THEN 'is temporary'
    WHEN c.relkind = 'v' AND %(of_view)s THEN NULL
    WHEN c.relkind = 'S' OR c.relkind = 'm' AND (%(whole)s OR %(index)s) THEN NULL
    WHEN c.relkind NOT IN ('r', 'p') THEN 'is not, or not of, an ordinary table'
    WHEN NOT %(whole)s AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid AND NOT c.relispartition
                                                              OR inhparent = c.oid AND c.relkind = 'r')
        THEN 'is of a table with parents or children, which is not covered yet'
    WHEN NOT %(whole)s AND c.relkind = 'p' AND EXISTS (
         SELECT FROM pg_partition_tree(c.oid::regclass) JOIN pg_class AS f ON f.oid = relid WHERE f.relkind = 'f')
        THEN 'is of a table with foreign tables for partitions, whose rows are elsewhere'
    WHEN c.reloftype <> 0 THEN 'is a typed table, which is not covered yet'
    WHEN EXISTS (SELECT FROM pg_constraint WHERE conindid = %(object)s AND contype IN ('p', 'u', 'x'))
        THEN 'belongs to a constraint; a plan can only drop it with its constraint, column or table'
END
  FROM pg_class AS c
 WHERE c.oid = %(relation)s
"""

#: What a partition has from its table, which the server lets nobody take from the partition alone.
_INHERITED = """
SELECT 'is what a partition has from its table; name that of the whole' WHERE CASE %(catalog)s
    WHEN 'pg_class' THEN EXISTS (
         SELECT FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = %(column)s
          WHERE c.oid = %(object)s AND c.relispartition AND (c.relkind IN ('i', 'I') OR a.attinhcount > 0))
    WHEN 'pg_constraint' THEN EXISTS (
         SELECT FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid
          WHERE con.oid = %(object)s AND c.relispartition AND (con.coninhcount > 0 OR con.conparentid <> 0))
    WHEN 'pg_trigger' THEN EXISTS (SELECT FROM pg_trigger WHERE oid = %(object)s AND tgparentid <> 0)
END
"""

_EXTENSION = """
SELECT 'belongs to an extension' FROM pg_depend WHERE classid = %s::regclass AND objid = %s AND deptype = 'e'
"""

_OTHERS = """
SELECT 'belongs to the server or to Stepback' FROM pg_identify_object(%(catalog)s::regclass, %(object)s, 0) AS told
 CROSS JOIN LATERAL (SELECT coalesce(told.schema, told.identity) AS name) AS stands
 WHERE stands.name = 'information_schema' OR starts_with(stands.name, 'pg_') OR starts_with(stands.name, %(own)s)
    OR told.identity = ANY (%(relations)s)
"""


def refuse_shapes(session: Session, items: Iterable[Item]) -> None:
    """Refuse what the protocols do not cover, by name.

    Raises:
        PlanRefused: Names the object, and says why.
    """
    items = tuple(items)
    going = [item.address.objid for item in items if item.address.catalog == "pg_constraint"]
    for item in items:
        catalog = f"pg_catalog.{item.address.catalog}"
        reason = _shape(session, item, going) or session.value(_EXTENSION, (catalog, item.address.objid))
        if reason is not None:
            raise PlanRefused(f"{item.label()} {reason}; it is left alone")
    refuse_others(session, items)


def refuse_others(session: Session, items: Iterable[Item], line: int | None = None) -> None:
    """Refuse what is not the application's.

    Raises:
        PlanRefused: Names the object, and whose it is.
    """
    for item in items:
        # What is a part of a table is whose the table is.
        catalog, oid = ("pg_class", item.relation) if item.relation else (item.address.catalog, item.address.objid)
        parameters = {
            "catalog": f"pg_catalog.{catalog}",
            "object": oid,
            "own": OWN_SCHEMA_PREFIX,
            "relations": list(_OWN),
        }
        reason = session.value(_OTHERS, parameters)
        if reason is not None:
            raise PlanRefused(f"{item.label()} {reason}; it is left alone", line=line)


#: NOT NULL is a constraint with a name since 18; the server does not let go of it where something else implies it.
_NEEDED = """
SELECT CASE
    WHEN a.attidentity <> '' THEN 'is what an identity column needs'
    WHEN EXISTS (SELECT FROM pg_constraint AS key WHERE key.conrelid = con.conrelid AND key.contype = 'p'
                    AND a.attnum = ANY (key.conkey) AND NOT key.oid = ANY (%s::oid[]))
        THEN 'is what the primary key needs'
END
  FROM pg_constraint AS con
  JOIN pg_attribute AS a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
 WHERE con.oid = %s AND con.contype = 'n'
"""

#: What a view may have, as a table may.
_OF_VIEWS = frozenset({"view", "trigger", "rule"})


def _shape(session: Session, item: Item, going: Sequence[int]) -> str | None:
    """Say why an object is of no shape that can be kept; `going` are the constraints that go too."""
    oid, reason = item.address.objid, None
    if item.address.catalog == "pg_type":
        reason = session.value(_TYPE_SHAPES, (oid,))
    elif item.address.catalog == "pg_constraint":
        reason = session.value(_NEEDED, (going, oid))
    if reason is None and item.action is not Action.CARRIED:
        at = {"catalog": item.address.catalog, "object": oid, "column": item.address.subid}
        reason = session.value(_INHERITED, at)
    whole = item.address.catalog == "pg_class" and item.kind != "index" and not item.address.subid
    relation = oid if whole else item.relation
    told: str | None = reason or session.value(
        _SHAPES, {"relation": relation, "object": oid, "whole": whole, **_kinds(item)}
    )
    return told


def _kinds(item: Item) -> dict[str, bool]:
    return {"of_view": item.kind in _OF_VIEWS, "index": item.kind == "index"}


_TORN = """
SELECT DISTINCT v.oid::bigint
  FROM unnest(%(catalogs)s::regclass[], %(objids)s::oid[], %(subids)s::integer[]) AS gone (classid, objid, subid)
  JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.refclassid = gone.classid
       AND d.refobjid = gone.objid AND (gone.subid = 0 OR d.refobjsubid = gone.subid)
  JOIN pg_rewrite AS w ON w.oid = d.objid
  JOIN pg_class AS v ON v.oid = w.ev_class AND v.relkind = 'm' AND v.oid = ANY (%(moved)s::oid[])
 ORDER BY 1
"""


def define_torn(session: Session, closure: Closure, doomed: Collection[Address]) -> None:
    """Let materialized views be written down that read something which is dropped: in quarantine they would need it.

    Args:
        session: In the target.
        closure: Complete.
        doomed: What the script drops or changes later, so that no view may hold it fast.
    """
    fresh = True
    while fresh:
        gone = {item.address for item in closure.items.values() if item.action in {Action.COPIED, Action.DEFINED}}
        addresses = sorted(gone.union(doomed), key=str)
        torn = session.rows(
            _TORN,
            {
                "catalogs": [f"pg_catalog.{address.catalog}" for address in addresses],
                "objids": [address.objid for address in addresses],
                "subids": [address.subid for address in addresses],
                "moved": sorted(closure.moved),
            },
        )
        for row in torn:
            write_down(closure, Address("pg_class", row["oid"]))
        # Others may read these.
        fresh = bool(torn)


def write_down(closure: Closure, view: Address) -> None:
    """Let a materialized view be copied and written down instead of moving."""
    closure.items[view] = replace(closure.items[view], action=Action.DEFINED)
    closure.moved -= {view.objid}


_USES_OF_RANGES = """
WITH family AS (
    SELECT r.rngtypid AS range, t.oid
      FROM pg_range AS r JOIN pg_type AS t ON t.oid IN (r.rngtypid, r.rngmultitypid)
        OR t.oid IN (SELECT typarray FROM pg_type WHERE oid IN (r.rngtypid, r.rngmultitypid))
     WHERE r.rngtypid = ANY (%(types)s::oid[])
)
SELECT f.range::bigint, d.classid::regclass::text AS catalog, d.objid::bigint, d.objsubid AS subid,
       pg_describe_object(d.classid, d.objid, d.objsubid) AS name, rngcanonical <> 0 AS canonical
  FROM family AS f JOIN pg_range ON rngtypid = f.range
  LEFT JOIN pg_depend AS d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = f.oid AND d.deptype = 'n'
       AND NOT EXISTS (SELECT FROM pg_depend AS i WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i'
                          AND i.refclassid = 'pg_type'::regclass)
 ORDER BY 1, 2, 3, 4
"""


def define_ranges(session: Session, closure: Closure) -> None:
    """Let ranges be written down: their constructors belong to the superuser, so that nobody else can move them.

    Raises:
        PlanRefused: Something that is kept is of a range; it could not do without.
    """
    types = [address.objid for address in closure.items if address.catalog == "pg_type"]
    for row in session.rows(_USES_OF_RANGES, {"types": types}):
        address = Address("pg_type", row["range"])
        item = closure.items[address] = replace(closure.items[address], action=Action.DEFINED)
        if row["canonical"]:
            raise PlanRefused(f"{item.label()} has a canonical function, without which it cannot be made again")
        if row["catalog"] is None:
            continue
        user = closure.items.get(Address(row["catalog"], row["objid"], row["subid"]))
        if user is None or user.action is not Action.DEFINED:
            raise PlanRefused(
                f"{item.label()} is used by {row['name']}, which would be kept and cannot do without it; a range cannot"
                " be moved, since its constructors belong to the superuser: leave it in place"
            )
