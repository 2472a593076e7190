"""A column as it is made again: its type, and all that it has beside it."""

from __future__ import annotations

from collections.abc import Sequence

from worker.objects.column_options import OPTIONS
from worker.objects.definition import comment
from worker.objects.keeping import Address, quoted
from worker.objects.ownership import of_columns
from worker.target import Row, Session

#: First server version whose pg_constraint lists NOT NULL.
NOT_NULL_IS_A_CONSTRAINT = 180000

_COLUMN = f"""
SELECT a.attnum AS number, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null, a.attgenerated::text AS generated, a.attstorage::text AS storage,
       a.attcompression::text AS compression, a.attstattarget AS statistics, {OPTIONS} AS options,
       pg_get_expr(d.adbin, d.adrelid) AS expression, d.oid::bigint AS default_oid,
       CASE WHEN t.typtype = 'd' AND a.attgenerated = '' THEN (
           WITH RECURSIVE below (type, modifier, depth) AS (
               SELECT t.typbasetype, t.typtypmod, 1
               UNION ALL
               SELECT d.typbasetype, d.typtypmod, depth + 1
                 FROM below JOIN pg_type AS d ON d.oid = below.type AND d.typtype = 'd'
           ) SELECT format_type(type, modifier) FROM below ORDER BY depth DESC LIMIT 1) END AS base,
       coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0)) AS filling,
       t.typnotnull AND d.oid IS NULL AND t.typdefaultbin IS NULL AS required,
       CASE WHEN a.attcollation <> t.typcollation THEN
           (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
              FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation)
       END AS collation,
       t.typstorage::text AS type_storage
  FROM pg_attribute AS a
  JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s AND a.attnum = ANY (%s)
 ORDER BY a.attnum
"""


def described(session: Session, relation: int, numbers: Sequence[int]) -> list[Row]:
    """Return what the catalog says of some columns of a table, given by number."""
    return session.rows(_COLUMN, (relation, numbers))


def own_settings(session: Session, address: Address, column: Row, table: str, *, alone: bool) -> list[str]:
    """Return what gives a column that was made again all that it had beside its type.

    Args:
        session: In the target.
        address: Where it stands now.
        column: As `described` returned it.
        table: Qualified and quoted.
        alone: Whether partitions have settings of their own, which are none of these.
    """
    name, place = quoted(column["name"]), f"ONLY {table}" if alone else table
    alter = f"ALTER TABLE {place} ALTER COLUMN {name}"
    statements = settings(column, place) if column["base"] is None else []
    if column["statistics"] is not None and column["statistics"] >= 0:
        statements.append(f"{alter} SET STATISTICS {column['statistics']}")
    if column["options"]:
        statements.append(f"{alter} SET ({', '.join(column['options'])})")
    statements.extend(of_columns(session, address.objid, table, column["number"]))
    return [*statements, *comment(session, address, f"COLUMN {table}.{name}")]


def type_of(column: Row) -> str:
    """Return the type of a column, as ADD COLUMN wants it."""
    return f"{column['type']} COLLATE {column['collation']}" if column["collation"] else str(column["type"])


def settings(column: Row, table: str) -> list[str]:
    """Return what gives a column its default, storage and compression again, which a change of type takes away."""
    alter = f"ALTER TABLE {table} ALTER COLUMN {quoted(column['name'])}"
    statements = []
    if column["expression"] is not None and not column["generated"]:
        # Set apart from ADD COLUMN: a volatile default there would rewrite the table.
        statements.append(f"{alter} SET DEFAULT {column['expression']}")
    if column["storage"] != column["type_storage"]:
        storage = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}[column["storage"]]
        statements.append(f"{alter} SET STORAGE {storage}")
    if column["compression"]:
        method = {"p": "pglz", "l": "lz4"}[column["compression"]]
        statements.append(f"{alter} SET COMPRESSION {method}")
    return statements
