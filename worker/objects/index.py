"""Indexes that do not go along with a table are kept as definitions: an index holds no data of its own."""

from __future__ import annotations

from worker.objects.definition import comment
from worker.objects.keeping import GONE, Item, Keeping, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

_INDEX = """
SELECT n.nspname AS schema, i.relname AS name, tn.nspname AS table_schema, t.relname AS table,
       x.indrelid::bigint AS relation, pg_get_indexdef(x.indexrelid) AS definition, s.spcname AS tablespace,
       x.indisclustered AS clustered, x.indisreplident AS replica_identity,
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


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how an index is kept: dropped, and created again from its definition."""
    found = session.row(_INDEX, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    index, table = quoted(found["schema"], found["name"]), quoted(found["table_schema"], found["table"])
    restore = [found["definition"]]
    if found["tablespace"]:
        restore.append(f"ALTER INDEX {index} SET TABLESPACE {quoted(found['tablespace'])}")
    for number, target in found["statistics"] or ():
        restore.append(f"ALTER INDEX {index} ALTER COLUMN {number} SET STATISTICS {target}")
    if found["clustered"]:
        restore.append(f"ALTER TABLE {table} CLUSTER ON {quoted(found['name'])}")
    if found["replica_identity"]:
        restore.append(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {quoted(found['name'])}")
    return Keeping(
        item,
        remove=(f"DROP INDEX {index}",),
        restore=(*restore, *comment(session, item.address, f"INDEX {index}")),
        locks=frozenset({found["relation"]}),
        permits={item.address: GONE},
        facts={
            "must_be_free": [index],
            "index": [found["schema"], found["table"], found["name"], found["definition"]],
        },
    )
