"""Constraints are kept as definitions; foreign keys come back NOT VALID and are validated after COMMIT."""

from __future__ import annotations

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects import partition_constraints
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, quoted, validating
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_CONSTRAINT = """
SELECT con.conname AS name, con.contype::text AS type, con.convalidated AS validated,
       pg_get_constraintdef(con.oid) AS definition, n.nspname AS schema, c.relname AS table,
       con.conrelid::bigint AS relation, nullif(con.confrelid, 0)::bigint AS referenced,
       nullif(con.conindid, 0)::bigint AS index, i.relname AS index_name, i.reloptions AS options,
       'p' IN (c.relkind, (SELECT relkind FROM pg_class WHERE oid = con.confrelid)) AS partitioned,
       c.relkind = 'p' AS of_partitioned, x.indisclustered AS clustered, x.indisreplident AS replica_identity
  FROM pg_constraint AS con
  JOIN pg_class AS c ON c.oid = con.conrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_class AS i ON i.oid = con.conindid AND con.contype IN ('p', 'u', 'x')
  LEFT JOIN pg_index AS x ON x.indexrelid = i.oid
 WHERE con.oid = %s
"""


#: A foreign key has triggers; one from or to a partitioned table has a constraint of its own on every partition.
_PARTS = """
WITH RECURSIVE parts AS (
    SELECT %(constraint)s::oid AS oid
    UNION
    SELECT con.oid FROM parts JOIN pg_constraint AS con ON con.conparentid = parts.oid
)
SELECT 'pg_constraint' AS catalog, oid::bigint FROM parts
UNION ALL
SELECT 'pg_trigger', t.oid FROM parts JOIN pg_trigger AS t ON t.tgconstraint = parts.oid
"""

#: What the constraints of partitions have of their own: a name that is not that of the whole, a comment.
_OWN = """
WITH RECURSIVE parts AS (
    SELECT oid, conname AS whole FROM pg_constraint WHERE oid = %(constraint)s
    UNION ALL
    SELECT con.oid, parts.whole FROM parts JOIN pg_constraint AS con ON con.conparentid = parts.oid
)
SELECT con.oid::bigint, con.conname AS name, parts.whole, n.nspname AS schema, c.relname AS table
  FROM parts JOIN pg_constraint AS con ON con.oid = parts.oid
  JOIN pg_constraint AS up ON up.oid = con.conparentid AND up.conrelid <> con.conrelid
  JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE con.oid <> %(constraint)s
 ORDER BY con.oid
"""

#: What is altered along with a foreign key from or to a partitioned table.
_TABLES = """
SELECT conrelid::bigint AS oid FROM pg_constraint WHERE oid = ANY (%(parts)s::oid[]) AND conrelid <> 0
UNION
SELECT confrelid FROM pg_constraint WHERE oid = ANY (%(parts)s::oid[]) AND confrelid <> 0
"""

#: First server version on which a foreign key from or to a partitioned table can be NOT VALID and then validated whole.
NOT_VALID_ON_PARTITIONED = 180000


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a constraint is kept: dropped by name, added again from its definition.

    Raises:
        PlanRefused: Partitions have of it what could not be made again exactly.
    """
    found = session.row(_CONSTRAINT, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    table, name = quoted(found["schema"], found["table"]), quoted(found["name"])
    parts = session.rows(_PARTS, {"constraint": item.address.objid})
    permits = {Address(part["catalog"], part["oid"]): GONE for part in parts}
    constraints = [part["oid"] for part in parts if part["catalog"] == "pg_constraint"]
    if found["of_partitioned"] and found["type"] in "pux":
        raise PlanRefused(
            f"{item.label()} is a key of a partitioned table: each partition has an index for it, and it is not covered"
            " yet to make these again under their names; drop it by hand, or the table"
        )
    locks = {found["relation"], *(row["oid"] for row in session.rows(_TABLES, {"parts": constraints}))}
    add = f"ALTER TABLE {table} ADD CONSTRAINT {name} {found['definition']}"
    finish: tuple[str, ...] = ()
    if found["type"] == "f":
        # A scan of a large table under the lock would make blocking grow with the data.
        if found["validated"] and (session.server_version >= NOT_VALID_ON_PARTITIONED or not found["partitioned"]):
            add += " NOT VALID"
            finish = (validating(found["relation"], found["name"]),)
    elif found["index_name"] is not None:
        permits[Address("pg_class", found["index"])] = GONE
    touches: list[Json] = []
    if found["type"] == "n":
        number = _column(session, item)
        permits[Address("pg_class", found["relation"], number)] = frozenset({"attnotnull"})
        touches.append([found["relation"], number])
    keeping = Keeping(
        item,
        remove=(f"ALTER TABLE {table} DROP CONSTRAINT {name}",),
        restore=(
            add,
            *_index_options(session, found, table),
            *comment(session, item.address, f"CONSTRAINT {name} ON {table}"),
            *of_partitions(session, item.address.objid),
        ),
        finish=finish,
        locks=frozenset(locks),
        permits=permits,
        facts={
            "constraint": found["type"],
            "touches": touches,
            "validates": [found["relation"], found["name"]] if finish else None,
        },
    )
    if found["of_partitioned"] and found["type"] in "cn":
        return partition_constraints.with_partitions(session, keeping, found["relation"])
    return keeping


def of_partitions(session: Session, constraint: int) -> tuple[str, ...]:
    """Return what gives the constraints of partitions, made with that of the whole, what they had of their own."""
    statements: list[str] = []
    for part in session.rows(_OWN, {"constraint": constraint}):
        table, name = quoted(part["schema"], part["table"]), quoted(part["name"])
        if part["name"] != part["whole"]:
            statements.append(f"ALTER TABLE {table} RENAME CONSTRAINT {quoted(part['whole'])} TO {name}")
        statements.extend(comment(session, Address("pg_constraint", part["oid"]), f"CONSTRAINT {name} ON {table}"))
    return tuple(statements)


def _column(session: Session, item: Item) -> int:
    number: int = session.value("SELECT conkey[1] FROM pg_constraint WHERE oid = %s", (item.address.objid,))
    return number


def _index_options(session: Session, found: Row, table: str) -> tuple[str, ...]:
    """Return what a constraint's index has beside its definition."""
    if found["index_name"] is None:
        return ()
    name, index = quoted(found["index_name"]), quoted(found["schema"], found["index_name"])
    statements = []
    if found["options"]:
        statements.append(f"ALTER INDEX {index} SET ({', '.join(found['options'])})")
    if found["clustered"]:
        statements.append(f"ALTER TABLE {table} CLUSTER ON {name}")
    if found["replica_identity"]:
        statements.append(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {name}")
    statements.extend(comment(session, Address("pg_class", found["index"]), f"INDEX {index}"))
    return tuple(statements)
