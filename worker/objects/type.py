"""Enum, composite and domain types move into quarantine: what uses them there goes on using them."""

from __future__ import annotations

from worker.objects.keeping import Address, Item, Keeping, Permits, as_json, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

#: The columns that are of an enum, or of an array of it.
_USAGE = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS table, a.attname AS column
  FROM pg_type AS t
  JOIN pg_attribute AS a ON a.atttypid IN (t.oid, t.typarray) AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
  JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'emergency\\_backup%%'
 WHERE t.oid = %s AND t.typtype = 'e'
 ORDER BY 1, 2
"""


def keep(session: Session, item: Item, quarantine: Quarantine) -> Keeping:
    """Say how a type is kept: by `ALTER TYPE … SET SCHEMA`; its array type goes along."""
    found = session.row(
        "SELECT t.typname AS name, n.nspname AS schema, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word"
        " FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.oid = %s",
        (item.address.objid,),
    )
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    schema, name = found["schema"], found["name"]
    inside, word = quarantine.of(schema), found["word"]
    return Keeping(
        item,
        remove=(f"ALTER {word} {quoted(schema, name)} SET SCHEMA {quoted(inside)}",),
        restore=(f"ALTER {word} {quoted(inside, name)} SET SCHEMA {quoted(schema)}",),
        permits=moved(session, item.address.objid),
        quarantine=inside,
        facts={
            "schema": schema,
            "name": name,
            "type_must_be_free": quoted(schema, name),
            "usage": as_json([[row["table"], row["column"]] for row in session.rows(_USAGE, (item.address.objid,))]),
        },
    )


def moved(session: Session, oid: int) -> Permits:
    """Return the catalog rows that SET SCHEMA of a type changes."""
    found = session.row("SELECT typarray::bigint, typrelid::bigint FROM pg_type WHERE oid = %s", (oid,))
    assert found is not None  # noqa: S101 - as above
    permits: dict[Address, frozenset[str]] = {Address("pg_type", oid): frozenset({"typnamespace"})}
    if found["typarray"]:
        permits[Address("pg_type", found["typarray"])] = frozenset({"typnamespace"})
    if found["typrelid"]:
        permits[Address("pg_class", found["typrelid"])] = frozenset({"relnamespace"})
    for row in session.rows("SELECT oid::bigint FROM pg_constraint WHERE contypid = %s", (oid,)):
        permits[Address("pg_constraint", row["oid"])] = frozenset({"connamespace"})
    return permits
