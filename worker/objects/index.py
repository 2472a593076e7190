"""Indexes that do not go along with a table are kept as definitions: an index holds no data of its own.

That of a partitioned table has one in each partition, with a name and settings of its own. These come back first; that
of the whole, made last, takes over those that are like it, and makes new ones for partitions that were added since.
"""

from __future__ import annotations

from ledger.errors import PlanRefused
from worker.objects import family
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, quoted
from worker.objects.partition import alike
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_INDEX = """
SELECT i.oid::bigint, n.nspname AS schema, i.relname AS name, tn.nspname AS table_schema, t.relname AS table,
       x.indrelid::bigint AS relation, pg_get_indexdef(x.indexrelid) AS definition, s.spcname AS tablespace,
       x.indisclustered AS clustered, x.indisreplident AS replica_identity, x.indisvalid AS valid,
       i.relkind = 'I' AS partitioned,
       (SELECT array_agg(array[attnum, attstattarget] ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = x.indexrelid AND attstattarget >= 0) AS statistics
  FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
  JOIN pg_namespace AS n ON n.oid = i.relnamespace
  JOIN pg_class AS t ON t.oid = x.indrelid
  JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_tablespace AS s ON s.oid = i.reltablespace
 WHERE x.indexrelid = %s
"""

#: Those of partitions, the deepest first.
_PARTS = """
SELECT relid::oid::bigint AS oid FROM pg_partition_tree(%s::oid::regclass) WHERE level > 0 ORDER BY level DESC, 1
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how an index is kept: dropped, and created again from its definition.

    Raises:
        PlanRefused: Those of partitions could not be tied to it again as they are.
    """
    found = _find(session, item.address.objid)
    index = quoted(found["schema"], found["name"])
    if found["partitioned"]:
        return _of_partitioned(session, item, found)
    return Keeping(
        item,
        remove=(f"DROP INDEX {index}",),
        restore=_restore(session, found),
        locks=frozenset({found["relation"]}),
        permits={item.address: GONE},
        facts={
            "must_be_free": [index],
            "index": [found["schema"], found["table"], found["name"], found["definition"]],
        },
    )


def _find(session: Session, index: int) -> Row:
    found = session.row(_INDEX, (index,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    return found


def _restore(session: Session, found: Row) -> tuple[str, ...]:
    index, table = quoted(found["schema"], found["name"]), quoted(found["table_schema"], found["table"])
    restore = [_definition(found)]
    if found["tablespace"]:
        restore.append(f"ALTER INDEX {index} SET TABLESPACE {quoted(found['tablespace'])}")
    for number, target in found["statistics"] or ():
        restore.append(f"ALTER INDEX {index} ALTER COLUMN {number} SET STATISTICS {target}")
    if found["clustered"]:
        restore.append(f"ALTER TABLE {table} CLUSTER ON {quoted(found['name'])}")
    if found["replica_identity"]:
        restore.append(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {quoted(found['name'])}")
    return (*restore, *comment(session, Address("pg_class", found["oid"]), f"INDEX {index}"))


def _definition(found: Row) -> str:
    """Return what makes an index, for all partitions where the server would write it for the whole alone."""
    text: str = found["definition"]
    head, only, rest = text.partition(" ON ONLY ") if found["partitioned"] else (text, "", "")
    # A name may hold these words; then it is quoted, so that the quotes before them are an odd number.
    while only and head.count('"') % 2:
        more, only, rest = rest.partition(" ON ONLY ")
        head = f"{head} ON ONLY {more}"
    return f"{head} ON {rest}" if only else text


def _of_partitioned(session: Session, item: Item, found: Row) -> Keeping:
    if not found["valid"]:
        raise PlanRefused(
            f"{item.label()} is not there in every partition of {found['table']}, and would come back in all; drop it"
            " by hand, or attach the missing ones first"
        )
    parts = [_find(session, row["oid"]) for row in session.rows(_PARTS, (item.address.objid,))]
    for part in parts:
        other = alike(session, part["relation"])
        if other is not None:
            raise PlanRefused(
                f"index {other['own']} is like {other['tied']}, and when {item.name} is made again the server might"
                " take it for a part of that; drop it first, in a migration of its own"
            )
    restore: list[str] = []
    for part in parts:
        table = quoted(part["table_schema"], part["table"])
        restore += (family.if_still_there(table, statement) for statement in _restore(session, part))
    members = frozenset(row["oid"] for row in family.members(session, found["relation"]))
    free = [quoted(index["schema"], index["name"]) for index in (found, *parts)]
    return Keeping(
        item,
        remove=(f"DROP INDEX {free[0]}",),
        restore=(*restore, *_restore(session, found)),
        locks=members,
        alters=members,
        permits={Address("pg_class", index["oid"]): GONE for index in (found, *parts)},
        facts={
            "must_be_free": [*free],
            "index": [found["schema"], found["table"], found["name"], _definition(found)],
            "partitions": [*sorted(members - {found["relation"]})],
        },
    )
