"""A partitioned table and all that it is made of: what is said of the whole holds for every partition below it.

A partition may have things of its own all the same: a default, a comment, the name of an index. They are written down
for each, and given back to those that are still partitions by then, since partitions come and go by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from worker.objects.keeping import Address, literal, quoted
from worker.target import Row, Session

#: The whole first, each partition after what it is a partition of. A table that has none is one by itself.
_MEMBERS: Final = """
WITH members AS (
    SELECT %(table)s::oid AS oid, 0 AS level
    UNION
    SELECT relid::oid, level FROM pg_partition_tree(%(table)s::oid::regclass) WHERE relid::oid <> %(table)s::oid
)
SELECT c.oid::bigint, c.relkind = 'p' AS partitioned, c.relforcerowsecurity AS forced,
       n.nspname AS schema,
       c.relname AS name, i.inhparent::bigint AS parent, a.attnum AS number, a.attnotnull AS not_null,
       a.attname AS column
  FROM members AS m JOIN pg_class AS c ON c.oid = m.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
  LEFT JOIN pg_attribute AS whole ON whole.attrelid = %(table)s::oid AND whole.attnum = %(number)s
  LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = whole.attname AND NOT a.attisdropped
 ORDER BY m.level, c.oid
"""

_WITH_PARTITIONS: Final = """
SELECT relid::oid::bigint AS oid FROM unnest(%(tables)s::oid[]) AS t (oid)
  JOIN pg_class AS c ON c.oid = t.oid AND c.relkind = 'p', pg_partition_tree(c.oid::regclass)
"""


def members(session: Session, table: int, number: int = 0) -> list[Row]:
    """Return a table and all partitions below it, each after what it is a partition of.

    Args:
        session: In the target.
        table: OID.
        number: Of a column of the table.

    Returns:
        Rows of `oid`, `partitioned`, `forced` (policies bind the owner), `schema`, `name` and `parent` (OID, or None);
        and of the same column, which may stand at another place in each, `number`, `not_null` and `column`, its name.
    """
    return session.rows(_MEMBERS, {"table": table, "number": number})


def partitions(session: Session, table: int, number: int = 0) -> list[Row]:
    """Return all partitions below a table, as `members` does."""
    return members(session, table, number)[1:]


def columns(session: Session, column: Address) -> Iterator[Address]:
    """Return a column, and that of the same name in every partition below its table."""
    if session.value("SELECT relkind = 'p' FROM pg_class WHERE oid = %s", (column.objid,)):
        rows = members(session, column.objid, column.subid)
        yield from (Address("pg_class", row["oid"], row["number"]) for row in rows if row["number"] is not None)
    else:
        yield column


def with_partitions(session: Session, tables: Collection[int]) -> set[int]:
    """Return some tables, given as OIDs, and all partitions below them."""
    found = session.rows(_WITH_PARTITIONS, {"tables": sorted(tables)})
    return {*tables, *(row["oid"] for row in found)}


def label(member: Row) -> str:
    """Return the qualified, quoted name of a member."""
    return quoted(member["schema"], member["name"])


def alone(table: str, *, partitioned: bool) -> str:
    """Return how ALTER TABLE names a table without its partitions."""
    return f"ONLY {table}" if partitioned else table


def all_rows(session: Session, table: str) -> str:
    """Return how a query names all rows of a table and no others: those of partitions, but not those of children."""
    whole = session.value("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", (table,))
    return table if whole else f"ONLY {table}"


def if_still_there(partition: str, statement: str, unless: str | None = None) -> str:
    """Return what is done about a partition if it is one of something by then.

    Args:
        partition: Qualified and quoted.
        statement: One statement, which names it.
        unless: A query; if it finds a row, nothing is done.
    """
    there = f"EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = to_regclass({literal(partition)}))"
    there += f" AND NOT EXISTS ({unless})" if unless is not None else ""
    return f"DO {literal(f'BEGIN IF {there} THEN EXECUTE {literal(statement)}; END IF; END')}"


#: CHECK and NOT NULL have no tie to that of the whole but their name, or their column.
_CONSTRAINTS: Final = """
WITH whole AS (
    SELECT con.*, a.attname FROM pg_constraint AS con
      LEFT JOIN pg_attribute AS a ON con.contype = 'n' AND a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
     WHERE con.oid = %(constraint)s
)
SELECT con.oid::bigint, con.conname AS name, con.conislocal AS local, con.convalidated AS validated,
       w.conname AS whole, w.convalidated AS whole_validated, n.nspname AS schema, c.relname AS table,
       con.conrelid::bigint AS relation, a.attnum AS number, pg_get_constraintdef(con.oid) AS definition
  FROM whole AS w
 CROSS JOIN LATERAL pg_partition_tree(w.conrelid::regclass) WITH ORDINALITY AS p
  JOIN pg_constraint AS con ON con.conrelid = p.relid AND con.contype = w.contype AND con.coninhcount > 0
  JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute AS a ON con.contype = 'n' AND a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
 WHERE p.relid <> w.conrelid
   AND (w.contype = 'c' AND con.conname = w.conname OR w.contype = 'n' AND a.attname = w.attname)
 ORDER BY p.ordinality
"""


def constraints(session: Session, constraint: int) -> list[Row]:
    """Return what partitions have of a CHECK or NOT NULL of their table, each after that which it comes from."""
    return session.rows(_CONSTRAINTS, {"constraint": constraint})
