"""What a table has of its own when it moves: written down, so that what somebody drops in quarantine is missed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ledger.model import Json
from worker.objects.keeping import Address, Permits
from worker.target import Session

#: Keys before the rest. Foreign keys, triggers and more do not move along: they are kept by themselves.
_PARTS = """
SELECT kind, name, statement, oid::bigint,
       ARRAY(SELECT a.attname::text
               FROM pg_depend AS d JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.classid = catalog AND d.objid = parts.oid AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = %(table)s ORDER BY 1) AS columns
  FROM (
    SELECT 1 AS place, 'index' AS kind, i.relname::text AS name, pg_get_indexdef(i.oid) AS statement,
           'pg_class'::regclass AS catalog, i.oid
      FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
     WHERE x.indrelid = %(table)s AND x.indisvalid AND NOT i.relispartition
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.indexrelid AND conrelid = x.indrelid)
    UNION ALL
    SELECT CASE contype WHEN 'p' THEN 2 WHEN 'u' THEN 3 ELSE 4 END, 'constraint', conname,
           format('ALTER TABLE %%I.%%I ADD CONSTRAINT %%I %%s', n.nspname, c.relname, conname,
                  pg_get_constraintdef(con.oid)), 'pg_constraint', con.oid
      FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE conrelid = %(table)s AND contype IN ('p', 'u', 'x', 'c') AND conislocal
    UNION ALL
    SELECT 5, 'column', attname, '', 'pg_attribute', 0
      FROM pg_attribute WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped
  ) AS parts ORDER BY place, name
"""


def of_table(session: Session, table: int) -> list[Json]:
    """Return the parts of a table: kind, name, the statement that makes it again if any, OID, and columns it needs.

    Args:
        session: In the target.
        table: OID, while the table is in its own schema: that is what the statements name.
    """
    found = session.rows(_PARTS, {"table": table})
    return [[row["kind"], row["name"], row["statement"], row["oid"], row["columns"]] for row in found]


def missing(session: Session, table: int, parts: Sequence[Any], kept: Collection[int]) -> list[tuple[str, str]]:
    """Return the parts that a table does not have any more: what they are called, and the statement, if any helps.

    Args:
        session: In the target.
        table: OID, wherever the table is now.
        parts: As `of_table` returned them.
        kept: OIDs of what is kept by itself, and so is not there.
    """
    there = {(row["kind"], row["name"]) for row in session.rows(_PARTS, {"table": table})}
    columns = {name for kind, name in there if kind == "column"}
    return [
        (f"{kind} {name}", statement if {*needed} <= columns else "")
        for kind, name, statement, oid, needed in parts
        if (kind, name) not in there and oid not in kept
    ]


def permits(session: Session, table: int) -> Permits:
    """Return the catalog rows that making parts again changes: a primary key makes its columns NOT NULL."""
    found = session.rows(
        "SELECT attnum AS number FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped", (table,)
    )
    return {Address("pg_class", table, row["number"]): frozenset({"attnotnull"}) for row in found}
