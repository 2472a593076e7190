"""Tables and materialized views move into quarantine whole: rows, indexes and owned sequences go along, uncopied."""

from __future__ import annotations

from ledger.model import Json
from worker.objects import parts
from worker.objects.keeping import Address, Item, Keeping, Permits, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_RELATIONS = """
SELECT c.oid::bigint, c.relname AS name, n.nspname AS schema,
       CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS word, c.relispopulated AS populated
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = %(table)s
    OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s)
    OR c.oid IN (SELECT objid FROM pg_depend
                  WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
                    AND refobjid = %(table)s AND deptype IN ('a', 'i')
                    AND objid IN (SELECT seqrelid FROM pg_sequence))
 ORDER BY c.oid
"""

_TYPES = """
SELECT oid::bigint FROM pg_type WHERE typrelid = ANY (%(relations)s::oid[])
UNION ALL
SELECT typarray::bigint FROM pg_type WHERE typrelid = ANY (%(relations)s::oid[]) AND typarray <> 0
"""


def keep(session: Session, item: Item, quarantine: Quarantine) -> Keeping:
    """Say how a table or materialized view is kept: by `ALTER TABLE … SET SCHEMA`, which neither copies nor scans."""
    relations = _relations(session, item.address.objid)
    own = next(relation for relation in relations if relation["oid"] == item.address.objid)
    schema, name = own["schema"], own["name"]
    inside, word = quarantine.of(schema), own["word"]
    free: list[Json] = [quoted(relation["schema"], relation["name"]) for relation in relations]
    return Keeping(
        item,
        remove=(f"ALTER {word} {quoted(schema, name)} SET SCHEMA {quoted(inside)}",),
        restore=(f"ALTER {word} {quoted(inside, name)} SET SCHEMA {quoted(schema)}",),
        locks=frozenset({item.address.objid}),
        permits=_moved(session, item.address.objid, relations),
        quarantine=inside,
        # One that was never filled has no rows to look at, and cannot be read.
        relation=name if own["populated"] else None,
        facts={
            "schema": schema,
            "name": name,
            "must_be_free": free,
            **({"parts": parts.of_table(session, item.address.objid)} if word == "TABLE" else {}),
        },
    )


def moved(session: Session, table: int) -> Permits:
    """Return the catalog rows that SET SCHEMA of a table changes."""
    return _moved(session, table, _relations(session, table))


def _relations(session: Session, table: int) -> list[Row]:
    """Return the table with its indexes and owned sequences."""
    return session.rows(_RELATIONS, {"table": table})


def _moved(session: Session, table: int, relations: list[Row]) -> Permits:
    oids = [relation["oid"] for relation in relations]
    permits = {Address("pg_class", oid): frozenset({"relnamespace"}) for oid in oids}
    for row in session.rows(_TYPES, {"relations": oids}):
        permits[Address("pg_type", row["oid"])] = frozenset({"typnamespace"})
    for row in session.rows("SELECT oid::bigint FROM pg_constraint WHERE conrelid = %s", (table,)):
        permits[Address("pg_constraint", row["oid"])] = frozenset({"connamespace"})
    return permits
