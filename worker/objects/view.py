"""Views are kept as definitions: a view is a query with an owner, grants and comments."""

from __future__ import annotations

from ledger.errors import PlanRefused
from worker.objects import ownership
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

_VIEW = """
SELECT n.nspname AS schema, c.relname AS name, c.reloptions AS options, pg_get_viewdef(c.oid) AS query,
       c.reltype::bigint AS type, t.typacl IS NOT NULL AS type_granted,
       (SELECT oid::bigint FROM pg_rewrite WHERE ev_class = c.oid AND rulename = '_RETURN') AS rule,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 ORDER BY attnum) AS columns
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_type AS t ON t.oid = c.reltype
 WHERE c.oid = %s
"""

_PARTS = """
SELECT 'pg_rewrite' AS catalog, oid::bigint FROM pg_rewrite WHERE ev_class = %(view)s AND rulename = '_RETURN'
UNION ALL
SELECT 'pg_type', oid FROM pg_type WHERE typrelid = %(view)s
UNION ALL
SELECT 'pg_type', typarray FROM pg_type WHERE typrelid = %(view)s AND typarray <> 0
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a view is kept; its triggers, rules and column defaults are items of their own."""
    found = session.row(_VIEW, (item.address.objid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    view = quoted(found["schema"], found["name"])
    if found["type_granted"]:
        raise PlanRefused(f"somebody was granted the row type of {item.label()}, which cannot be kept; revoke it first")
    owned = ownership.of(session, item.address, f"TABLE {view}")
    options = f" WITH ({', '.join(found['options'])})" if found["options"] else ""
    make = f"CREATE VIEW {view}{options} AS {found['query']}"
    columns = [
        line
        for number, name in enumerate(found["columns"], start=1)
        for line in comment(session, Address("pg_class", item.address.objid, number), f"COLUMN {view}.{quoted(name)}")
    ]
    return Keeping(
        item,
        remove=(f"DROP VIEW {view}",),
        restore=(
            make,
            *owned.give,
            *comment(session, item.address, f"VIEW {view}"),
            *columns,
            *comment(session, Address("pg_type", found["type"]), f"TYPE {view}"),
            *comment(session, Address("pg_rewrite", found["rule"]), f'RULE "_RETURN" ON {view}'),
        ),
        permits=dropped(session, item.address.objid),
        facts={
            "schema": found["schema"],
            "must_be_free": [view],
            "type_must_be_free": view,
            "grants": owned.grants,
            "column_grants": list(ownership.of_columns(session, item.address.objid, view)),
        },
    )


def dropped(session: Session, view: int) -> Permits:
    """Return the catalog rows that dropping a view removes."""
    permits = {Address("pg_class", view): GONE}
    for row in session.rows(_PARTS, {"view": view}):
        permits[Address(row["catalog"], row["oid"])] = GONE
    return permits
