"""Sequences move into quarantine with their position; that of an identity column is written down, its position copied.

An identity column and its sequence cannot be parted, so the column is made one again over a new sequence that goes on
where the old one stood.
"""

from __future__ import annotations

from collections.abc import Collection

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects import ownership
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, cut, literal, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}

_SEQUENCE = """
SELECT n.nspname AS schema, c.relname AS name, s.seqstart AS start, s.seqincrement AS increment, s.seqmin AS min,
       s.seqmax AS max, s.seqcache AS cache, s.seqcycle AS cycle, format_type(s.seqtypid, NULL) AS type,
       s.seqtypid <> a.atttypid AS other_type, c.relpersistence::text AS persistence,
       t.relpersistence::text AS of_table, t.oid::bigint AS table_oid, tn.nspname AS table_schema, t.relname AS table,
       a.attnum AS number, a.attname AS column, a.attidentity::text AS identity
  FROM pg_sequence AS s
  JOIN pg_class AS c ON c.oid = s.seqrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_class AS t ON t.oid = d.refobjid
  LEFT JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE s.seqrelid = %s
"""

_OWNED = """
SELECT c.oid::bigint, n.nspname AS schema, c.relname AS name
  FROM pg_depend AS d
  JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND d.refobjsubid = %s AND d.deptype = 'a'
 ORDER BY c.oid
"""


def keep(session: Session, item: Item, quarantine: Quarantine, dropped: Collection[Address]) -> Keeping:
    """Say how a sequence is kept: moved, and if it belongs to a column, given back to it.

    Args:
        session: In the transaction that computed the impact.
        item: The sequence.
        quarantine: Where it goes.
        dropped: Columns that are dropped; they let go of their sequences, and take them again, themselves.
    """
    oid = item.address.objid
    found = _find(session, oid)
    if found["identity"]:
        return _identity(session, item, found, quarantine)
    schema, name = found["schema"], found["name"]
    inside = quarantine.of(schema)
    locks, permits = {oid}, moved(session, oid)
    let_go: tuple[str, ...] = ()
    give_back: tuple[str, ...] = ()
    if found["table"] is not None and Address("pg_class", found["table_oid"], found["number"]) not in dropped:
        sequence = quoted(schema, name)
        let_go = (f"ALTER SEQUENCE {sequence} OWNED BY NONE",)
        give_back = (f"ALTER SEQUENCE {sequence} OWNED BY {_column(found)}",)
        locks.add(found["table_oid"])
    return Keeping(
        item,
        remove=(*let_go, f"ALTER SEQUENCE {quoted(schema, name)} SET SCHEMA {quoted(inside)}"),
        restore=(f"ALTER SEQUENCE {quoted(inside, name)} SET SCHEMA {quoted(schema)}", *give_back),
        locks=frozenset(locks),
        permits=permits,
        quarantine=inside,
        facts={"schema": schema, "name": name, "must_be_free": [quoted(schema, name)]},
    )


def moved(_session: Session, oid: int) -> dict[Address, frozenset[str]]:
    """Return the catalog rows that SET SCHEMA and OWNED BY of a sequence change."""
    return {Address("pg_class", oid): frozenset({"relnamespace", "pg_depend"})}


def owned_by(session: Session, table: int, number: int) -> list[tuple[int, str]]:
    """Return the sequences that belong to a column without being its identity: OID and name, qualified and quoted."""
    return [(row["oid"], quoted(row["schema"], row["name"])) for row in session.rows(_OWNED, (table, number))]


def _identity(session: Session, item: Item, found: Row, quarantine: Quarantine) -> Keeping:
    table, column = quoted(found["table_schema"], found["table"]), quoted(found["column"])
    sequence = quoted(found["schema"], found["name"])
    if found["other_type"]:
        raise PlanRefused(
            f"sequence {sequence} is of another type than its identity column {column} of {table}, and would come back"
            " with the column's; give it the same type first"
        )
    # Under the lock: whoever took a number before it has it, and nobody takes one afterwards.
    position = quoted(quarantine.copies, cut(found["name"], f"_{item.address.objid}"))
    persistence = {"p": "LOGGED", "u": "UNLOGGED"}[found["persistence"]]
    columns = identity_of_partitions(session, Address("pg_class", found["table_oid"], found["number"]))
    changes: list[Json] = [[at.catalog, at.objid, at.subid, *changed] for at, changed in columns.items()]
    return Keeping(
        item,
        remove=(
            f"CREATE TABLE {position} AS SELECT last_value, is_called FROM {sequence}",
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP IDENTITY",
        ),
        restore=(
            f"ALTER TABLE {table} ALTER COLUMN {column} ADD {_clause(found, sequence)}",
            f"SELECT setval({literal(sequence)}, last_value, is_called) FROM {position}",
            *(() if found["persistence"] == found["of_table"] else (f"ALTER SEQUENCE {sequence} SET {persistence}",)),
            *ownership.again(session, item.address, f"SEQUENCE {sequence}"),
            *comment(session, item.address, f"SEQUENCE {sequence}"),
        ),
        locks=frozenset({item.address.objid, found["table_oid"]}),
        permits={
            item.address: GONE,
            **columns,
        },
        quarantine=quarantine.copies,
        facts={"position": position, "must_be_free": [sequence], "changes": changes},
    )


_TREE = """
SELECT a.attrelid::bigint AS relation, a.attnum AS number
  FROM pg_attribute AS own
  JOIN pg_attribute AS a ON a.attname = own.attname AND a.attnum > 0 AND NOT a.attisdropped
 WHERE own.attrelid = %(table)s AND own.attnum = %(number)s
   AND (a.attrelid = own.attrelid OR a.attrelid IN (SELECT relid FROM pg_partition_tree(own.attrelid)))
"""


def identity_of_partitions(session: Session, column: Address) -> Permits:
    """Return the rows that say of a column, and of the same on partitions, that it is an identity."""
    rows = session.rows(_TREE, {"table": column.objid, "number": column.subid})
    return {Address("pg_class", row["relation"], row["number"]): frozenset({"attidentity"}) for row in rows}


def _clause(found: Row, sequence: str) -> str:
    limits = f"MINVALUE {found['min']} MAXVALUE {found['max']} CACHE {found['cache']}"
    return (
        f"GENERATED {_IDENTITY[found['identity']]} AS IDENTITY (SEQUENCE NAME {sequence} START WITH {found['start']}"
        f" INCREMENT BY {found['increment']} {limits} {'CYCLE' if found['cycle'] else 'NO CYCLE'})"
    )


def _column(found: Row) -> str:
    return quoted(found["table_schema"], found["table"], found["column"])


def _find(session: Session, oid: int) -> Row:
    found = session.row(_SEQUENCE, (oid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    return found
