"""A materialized view that reads something which goes: its rows are copied, its definition is kept, then it is dropped.

Where all that it reads stays or moves, it moves itself (worker/objects/table.py). In quarantine it would go on reading:
the server then lets nobody drop a column of its tables, or change its type. What stands there after a recovery is what
its query says by then.
"""

from __future__ import annotations

from dataclasses import replace

from worker.objects import index, ownership
from worker.objects.column_options import OPTIONS
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Action, Address, Item, Keeping, Permits, cut, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Row, Session

_VIEW = """
SELECT n.nspname AS schema, c.relname AS name, c.reloptions AS options, pg_get_viewdef(c.oid) AS query,
       c.relispopulated AS populated, c.reltype::bigint AS type, s.spcname AS tablespace, m.amname AS method
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_am AS m ON m.oid = c.relam
  LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace
 WHERE c.oid = %s
"""

_COLUMNS = f"""
SELECT a.attnum AS number, a.attname AS name, a.attstattarget AS statistics, {OPTIONS} AS options,
       CASE WHEN a.attstorage <> t.typstorage THEN
           CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END
       END AS storage,
       CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END AS compression
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
 WHERE a.attrelid = %s AND a.attnum > 0 ORDER BY a.attnum
"""

_INDEXES = """
SELECT c.oid::bigint, c.oid::regclass::text AS name FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid
 WHERE x.indrelid = %s ORDER BY x.indisclustered, c.oid
"""

_PARTS = """
SELECT 'pg_class' AS catalog, c.oid::bigint FROM pg_class AS v
  JOIN pg_class AS c ON c.oid IN (v.oid, v.reltoastrelid)
       OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (v.oid, v.reltoastrelid))
 WHERE v.oid = %(view)s
UNION ALL
SELECT 'pg_rewrite', oid FROM pg_rewrite WHERE ev_class = %(view)s
UNION ALL
SELECT 'pg_type', oid FROM pg_type WHERE typrelid = %(view)s
UNION ALL
SELECT 'pg_type', typarray FROM pg_type WHERE typrelid = %(view)s AND typarray <> 0
"""


def keep(session: Session, item: Item, quarantine: Quarantine) -> Keeping:
    """Say how a materialized view is kept that cannot move: its rows to be read, its definition to be made again."""
    found = session.row(_VIEW, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    view = quoted(found["schema"], found["name"])
    relation = cut(found["name"], f"_{item.address.objid}") if found["populated"] else None
    copied = (
        () if relation is None else (f"CREATE TABLE {quoted(quarantine.copies, relation)} AS SELECT * FROM {view}",)
    )
    owned = ownership.of(session, item.address, f"TABLE {view}")
    indexes = [_index(session, row, item, quarantine) for row in session.rows(_INDEXES, (item.address.objid,))]
    return Keeping(
        item,
        remove=(*copied, f"DROP MATERIALIZED VIEW {view}"),
        restore=(
            _make(view, found),
            *owned.give,
            *comment(session, item.address, f"MATERIALIZED VIEW {view}"),
            *comment(session, Address("pg_type", found["type"]), f"TYPE {view}"),
            *_columns(session, item, view),
            *(statement for kept in indexes for statement in kept.restore),
        ),
        # After COMMIT, when all that it reads is back.
        finish=(f"REFRESH MATERIALIZED VIEW {view}",) if found["populated"] else (),
        locks=frozenset({item.address.objid}),
        permits=_dropped(session, item.address.objid),
        quarantine=None if relation is None else quarantine.copies,
        relation=relation,
        facts={
            "schema": found["schema"],
            "source": found["name"],
            "must_be_free": [view, *(name for kept in indexes for name in _free(kept))],
            "type_must_be_free": view,
            "grants": owned.grants,
            "column_grants": list(ownership.of_columns(session, item.address.objid, view)),
        },
    )


def _make(view: str, found: Row) -> str:
    options = f" WITH ({', '.join(found['options'])})" if found["options"] else ""
    place = f" TABLESPACE {quoted(found['tablespace'])}" if found["tablespace"] else ""
    query = found["query"].rstrip().rstrip(";")
    return f"CREATE MATERIALIZED VIEW {view} USING {quoted(found['method'])}{options}{place} AS {query} WITH NO DATA"


def _columns(session: Session, item: Item, view: str) -> list[str]:
    statements: list[str] = []
    for column in session.rows(_COLUMNS, (item.address.objid,)):
        alter = f"ALTER MATERIALIZED VIEW {view} ALTER COLUMN {quoted(column['name'])}"
        if column["statistics"] is not None and column["statistics"] >= 0:
            statements.append(f"{alter} SET STATISTICS {column['statistics']}")
        if column["options"]:
            statements.append(f"{alter} SET ({', '.join(column['options'])})")
        if column["storage"]:
            statements.append(f"{alter} SET STORAGE {column['storage']}")
        if column["compression"]:
            statements.append(f"{alter} SET COMPRESSION {column['compression']}")
        place = replace(item.address, subid=column["number"])
        statements.extend(comment(session, place, f"COLUMN {view}.{quoted(column['name'])}"))
    return statements


def _index(session: Session, row: Row, item: Item, quarantine: Quarantine) -> Keeping:
    address = Address("pg_class", row["oid"])
    part = Item(address, "index", row["name"], item.because, Action.CARRIED, relation=item.address.objid)
    return index.keep(session, part, quarantine)


def _free(kept: Keeping) -> list[str]:
    names = kept.facts["must_be_free"]
    assert isinstance(names, list)  # noqa: S101 - worker/objects/index.py puts a list there
    return [str(name) for name in names]


def _dropped(session: Session, view: int) -> Permits:
    return {Address(row["catalog"], row["oid"]): GONE for row in session.rows(_PARTS, {"view": view})}
