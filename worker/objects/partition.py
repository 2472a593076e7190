"""A partition whose parent stays is detached before it moves, and attached again with the bound that it had.

What it has from its parent (foreign keys, row triggers) goes with DETACH and comes again with ATTACH; both are told
apart from its own. ATTACH reads the partition once, and the default partition if there is one, to see that rows fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import PlanRefused
from ledger.model import Json
from worker.objects.constraint import of_partitions
from worker.objects.definition import comment, triggers_of_partitions
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, merge, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_PARTITION = """
SELECT n.nspname AS schema, c.relname AS name, pn.nspname AS parent_schema, p.relname AS parent,
       p.oid::bigint AS parent_oid, pg_get_expr(c.relpartbound, c.oid) AS bound,
       pg_get_partition_constraintdef(c.oid) AS fits, nullif(w.partdefid, 0)::bigint AS default_oid
  FROM pg_inherits AS i
  JOIN pg_class AS c ON c.oid = i.inhrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_class AS p ON p.oid = i.inhparent
  JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
  JOIN pg_partitioned_table AS w ON w.partrelid = p.oid
 WHERE i.inhrelid = %s
"""

#: Foreign keys of others on the parent: DETACH would forbid the rows that they refer to, or forget the partition.
_REFERENCED = """
SELECT con.conname AS name, con.conrelid::regclass::text AS table
  FROM pg_constraint AS con JOIN pg_constraint AS up ON up.oid = con.conparentid
 WHERE con.confrelid = %(child)s AND con.contype = 'f' AND up.confrelid <> con.confrelid
 LIMIT 1
"""

#: ATTACH takes the first index that is like the parent's: with two alike it may be the other one.
_ALIKE = """
SELECT own.indexrelid::regclass::text AS own, tied.indexrelid::regclass::text AS tied
  FROM pg_inherits AS i
  JOIN pg_index AS tied ON tied.indexrelid = i.inhrelid
  JOIN pg_index AS own ON own.indrelid = tied.indrelid AND own.indkey::text = tied.indkey::text
       AND own.indclass::text = tied.indclass::text AND own.indisunique = tied.indisunique
 WHERE tied.indrelid = %(child)s AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = own.indexrelid)
 LIMIT 1
"""

_FOREIGN_KEYS = """
SELECT con.oid::bigint, con.conname AS name, pg_get_constraintdef(con.oid) AS definition,
       con.confrelid::bigint AS referenced
  FROM pg_constraint AS con JOIN pg_constraint AS up ON up.oid = con.conparentid
 WHERE con.conrelid = %(child)s AND con.contype = 'f' AND up.conrelid <> con.conrelid
 ORDER BY con.oid
"""

_FOREIGN_KEY_ROWS = """
WITH RECURSIVE parts AS (
    SELECT unnest(%(constraints)s::oid[]) AS oid
    UNION
    SELECT con.oid FROM parts JOIN pg_constraint AS con ON con.conparentid = parts.oid
)
SELECT 'pg_constraint' AS catalog, oid::bigint FROM parts
UNION ALL
SELECT 'pg_trigger', t.oid FROM parts JOIN pg_trigger AS t ON t.tgconstraint = parts.oid
"""

_TIED_ROWS = """
SELECT 'pg_class' AS catalog, a.attrelid::bigint AS oid, a.attnum AS number,
       ARRAY['attinhcount', 'attislocal', 'attidentity'] AS columns
  FROM pg_attribute AS a WHERE a.attrelid = %(child)s AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'pg_constraint', oid, 0, ARRAY['coninhcount', 'conislocal', 'conparentid', 'pg_depend']
  FROM pg_constraint WHERE conrelid = %(child)s AND contype <> 'f'
UNION ALL
SELECT 'pg_class', indexrelid, 0, ARRAY['relispartition', 'pg_inherits', 'pg_depend']
  FROM pg_index WHERE indrelid = %(child)s
UNION ALL
SELECT 'pg_class', %(child)s, 0, ARRAY['relispartition', 'relpartbound', 'pg_inherits', 'pg_depend']
UNION ALL
SELECT 'pg_class', i.inhparent, 0, ARRAY['partdefid'] FROM pg_inherits AS i WHERE i.inhrelid = %(child)s
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how the tie between a partition and its parent is kept.

    Raises:
        PlanRefused: It could not be made again exactly.
    """
    child = item.address.objid
    found = tie(session, child)
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    refuse_inexact(session, child, found)
    table, parent = quoted(found["schema"], found["name"]), quoted(found["parent_schema"], found["parent"])
    keys = session.rows(_FOREIGN_KEYS, {"child": child})
    of_triggers, trigger_rows = own_triggers(session, child)
    tied = tied_rows(session, child)
    locks = {child, found["parent_oid"], *(key["referenced"] for key in keys)}
    if found["default_oid"] is not None:
        locks.add(found["default_oid"])
    return Keeping(
        item,
        remove=(
            detach(found),
            *(f"ALTER TABLE {table} DROP CONSTRAINT {quoted(key['name'])}" for key in keys),
        ),
        restore=(
            # Made before ATTACH, which takes them over, so that they have their own names.
            *(f"ALTER TABLE {table} ADD CONSTRAINT {quoted(key['name'])} {key['definition']}" for key in keys),
            attach(found),
            *_of_keys(session, keys, table),
            *of_triggers,
        ),
        locks=frozenset(locks),
        alters=frozenset({found["parent_oid"]}),
        permits=merge([tied, trigger_rows, rows_of_keys(session, [key["oid"] for key in keys])]),
        facts=_facts(found, parent, tied),
    )


def tie(session: Session, child: int) -> Row | None:
    """Return what ties a table to the one that it is a partition of; None if it is none."""
    return session.row(_PARTITION, (child,))


def detach(found: Row) -> str:
    """Return the statement that cuts a tie."""
    parent, table = quoted(found["parent_schema"], found["parent"]), quoted(found["schema"], found["name"])
    return f"ALTER TABLE {parent} DETACH PARTITION {table}"


def attach(found: Row) -> str:
    """Return the statement that makes a tie again."""
    parent, table = quoted(found["parent_schema"], found["parent"]), quoted(found["schema"], found["name"])
    return f"ALTER TABLE {parent} ATTACH PARTITION {table} {found['bound']}"


def refuse_inexact(session: Session, child: int, found: Row, line: int | None = None) -> None:
    """Refuse to cut a tie that could not be made again exactly.

    Raises:
        PlanRefused: Names what stands in the way.
    """
    referenced = session.row(_REFERENCED, {"child": child})
    if referenced is not None:
        raise PlanRefused(
            f"foreign key {referenced['name']} of {referenced['table']} refers to {found['parent']}, so {found['name']}"
            " cannot be detached without loss; drop the foreign key first, in a migration of its own",
            line=line,
        )
    other = alike(session, child)
    if other is not None:
        raise PlanRefused(
            f"index {other['own']} is like {other['tied']}, and when {found['name']} is attached again the server might"
            " take it for the parent's; drop it first, in a migration of its own",
            line=line,
        )


def alike(session: Session, child: int) -> Row | None:
    """Return an index of a partition that the server might take for one that it has from its table: `own`, `tied`."""
    return session.row(_ALIKE, {"child": child})


def _of_keys(session: Session, keys: list[Row], table: str) -> list[str]:
    statements: list[str] = []
    for key in keys:
        subject = f"CONSTRAINT {quoted(key['name'])} ON {table}"
        statements += comment(session, Address("pg_constraint", key["oid"]), subject)
        statements += of_partitions(session, key["oid"])
    return statements


def rows_of_keys(session: Session, keys: Sequence[int]) -> Permits:
    """Return the catalog rows of foreign keys, with their pieces and triggers."""
    rows = session.rows(_FOREIGN_KEY_ROWS, {"constraints": list(keys)})
    return {Address(row["catalog"], row["oid"]): GONE for row in rows}


def own_triggers(session: Session, child: int) -> tuple[tuple[str, ...], Permits]:
    """Return what a partition's triggers have of their own, its partitions' included, but no other partition's."""
    parents = session.rows(
        "SELECT tgparentid::bigint AS oid FROM pg_trigger WHERE tgrelid = %s AND tgparentid <> 0 AND NOT tgisinternal",
        (child,),
    )
    tree = [
        row["oid"]
        for row in session.rows("SELECT relid::oid::bigint AS oid FROM pg_partition_tree(%s::oid::regclass)", (child,))
    ]
    return triggers_of_partitions(session, [row["oid"] for row in parents], within=tree)


def tied_rows(session: Session, child: int) -> Permits:
    """Return the catalog rows that DETACH and ATTACH change beside what they drop."""
    return {
        Address(row["catalog"], row["oid"], row["number"]): frozenset(row["columns"])
        for row in session.rows(_TIED_ROWS, {"child": child})
    }


def _facts(found: Row, parent: str, tied: Permits) -> dict[str, Json]:
    changes: list[Json] = [[at.catalog, at.objid, at.subid, *sorted(columns)] for at, columns in tied.items()]
    return {"parent": parent, "bound": found["bound"], "fits": found["fits"], "changes": changes}
