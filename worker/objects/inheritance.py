"""A child whose parents stay is taken from them before it moves, so that they no longer show its rows.

A column that a child has only by inheritance would become the child's own when the last parent lets go, and no DDL
makes that good again. So an empty stand-in of every parent, in quarantine, takes the parent's place until recovery.
"""

from __future__ import annotations

from ledger.errors import PlanRefused
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, cut, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

_PARENTS = """
SELECT i.inhparent::bigint AS oid, pn.nspname AS parent_schema, p.relname AS parent, n.nspname AS schema,
       c.relname AS name,
       (SELECT con.conname FROM pg_constraint AS con JOIN pg_constraint AS own ON own.conname = con.conname
         WHERE con.conrelid = i.inhparent AND own.conrelid = i.inhrelid AND con.contype = 'c' AND NOT con.connoinherit
           AND NOT (con.convalidated AND own.convalidated) ORDER BY 1 LIMIT 1) AS not_valid
  FROM pg_inherits AS i
  JOIN pg_class AS p ON p.oid = i.inhparent
  JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
  JOIN pg_class AS c ON c.oid = i.inhrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE i.inhrelid = %s
 ORDER BY i.inhseqno
"""

_STAND_IN = """
WITH tables AS (
    SELECT oid, reltoastrelid FROM pg_class
     WHERE oid = ANY (SELECT to_regclass(name) FROM unnest(%(names)s::text[]) AS name)
), relations AS (
    SELECT oid FROM tables UNION ALL SELECT reltoastrelid FROM tables WHERE reltoastrelid <> 0
)
SELECT 'pg_class' AS catalog, oid::bigint FROM relations
UNION ALL
SELECT 'pg_class', indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'pg_type', oid FROM pg_type WHERE typrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'pg_type', typarray FROM pg_type WHERE typrelid IN (SELECT oid FROM relations) AND typarray <> 0
UNION ALL
SELECT 'pg_constraint', oid FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'pg_attrdef', oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
"""


def keep(session: Session, item: Item, quarantine: Quarantine) -> Keeping:
    """Say how the tie between a child and its parents is kept; all of them, since their order counts."""
    child = item.address.objid
    remove: list[str] = []
    restore: list[str] = []
    stand_ins: list[str] = []
    parents = session.rows(_PARENTS, (child,))
    for number, row in enumerate(parents, start=1):
        table, parent = quoted(row["schema"], row["name"]), quoted(row["parent_schema"], row["parent"])
        if row["not_valid"] is not None:
            raise PlanRefused(
                f"constraint {row['not_valid']}, which {table} inherits from {parent}, is not validated, so the tie"
                " could not be made again; validate it first"
            )
        stand_in = quoted(quarantine.copies, cut(row["name"], f"_{child}_{number}"))
        stand_ins.append(stand_in)
        remove += [
            f"CREATE TABLE {stand_in} (LIKE {parent} INCLUDING CONSTRAINTS INCLUDING GENERATED)",
            f"ALTER TABLE {table} INHERIT {stand_in}",
            f"ALTER TABLE {table} NO INHERIT {parent}",
        ]
        restore += [
            f"ALTER TABLE {table} INHERIT {parent}",
            f"ALTER TABLE {table} NO INHERIT {stand_in}",
            f"DROP TABLE {stand_in}",
        ]
    around = frozenset(row["oid"] for row in parents)
    return Keeping(
        item,
        remove=tuple(remove),
        restore=tuple(restore),
        locks=around | {child},
        alters=around,
        permits=untied(child),
        quarantine=quarantine.copies,
        facts={"stand_ins": list(stand_ins), "untied": child},
    )


def untied(child: int) -> dict[Address, frozenset[str]]:
    """Return the catalog rows that tell of a tie: nothing else of the child changes."""
    return {Address("pg_class", child): frozenset({"pg_inherits", "pg_depend"})}


def dismissed(session: Session, stand_ins: list[str]) -> Permits:
    """Return the catalog rows that dropping stand-ins removes."""
    return {Address(row["catalog"], row["oid"]): GONE for row in session.rows(_STAND_IN, {"names": stand_ins})}
