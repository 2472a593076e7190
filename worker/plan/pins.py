"""Pins: what is in quarantine goes on needing what is outside, and the server refuses to drop that meanwhile.

Source: PostgreSQL documentation, "Dependency Tracking" and the catalog page of pg_depend.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.objects.keeping import Action, Item
from worker.objects.remarks import Pin
from worker.target import Session

#: Everything that goes along with what moves, and what copies are made of; then what it depends on outside.
_PINS = """
WITH moved AS (
    SELECT * FROM unnest(%(catalogs)s::regclass[], %(objids)s::oid[], %(subids)s::integer[], %(labels)s::text[])
                    AS m (classid, objid, subid, label)
), relations AS (
    SELECT objid AS oid, label FROM moved WHERE classid = 'pg_class'::regclass AND subid = 0
    UNION ALL
    SELECT t.typrelid, label FROM moved JOIN pg_type AS t ON classid = 'pg_type'::regclass AND t.oid = objid
     WHERE t.typrelid <> 0
), types AS (
    SELECT objid AS oid, label FROM moved WHERE classid = 'pg_type'::regclass
    UNION ALL
    SELECT c.reltype, label FROM relations JOIN pg_class AS c USING (oid) WHERE c.reltype <> 0
), parts (classid, objid, subid, label) AS (
    SELECT 'pg_class'::regclass::oid, oid, 0, label FROM relations
    UNION ALL
    SELECT classid, objid, subid, label FROM moved WHERE subid > 0
    UNION ALL
    SELECT 'pg_class'::regclass, i.indexrelid, 0, label FROM relations JOIN pg_index AS i ON i.indrelid = oid
    UNION ALL
    SELECT 'pg_class'::regclass, d.objid, 0, label FROM relations JOIN pg_depend AS d
        ON d.refclassid = 'pg_class'::regclass AND d.refobjid = oid AND d.deptype IN ('a', 'i')
     WHERE d.classid = 'pg_class'::regclass AND d.objid IN (SELECT seqrelid FROM pg_sequence)
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, label
      FROM relations JOIN pg_constraint AS k ON k.conrelid = relations.oid
    UNION ALL
    SELECT 'pg_attrdef'::regclass, e.oid, 0, label
      FROM relations JOIN pg_attrdef AS e ON e.adrelid = relations.oid
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid, 0, label FROM relations JOIN pg_rewrite AS w ON w.ev_class = relations.oid
     WHERE w.rulename = '_RETURN'
    UNION ALL
    SELECT 'pg_type'::regclass, oid, 0, label FROM types
    UNION ALL
    SELECT 'pg_type'::regclass, t.typarray, 0, label FROM types JOIN pg_type AS t USING (oid) WHERE t.typarray <> 0
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, label FROM types JOIN pg_constraint AS k ON k.contypid = types.oid
), held AS (
    SELECT DISTINCT d.refclassid, d.refobjid, p.label
      FROM parts AS p JOIN pg_depend AS d USING (classid, objid)
     WHERE d.deptype = 'n' AND (p.subid = 0 OR p.subid = d.objsubid)
       -- Everything below belongs to the server, which nobody can drop.
       AND d.refobjid >= 16384 AND d.refclassid <> 'pg_namespace'::regclass
       AND (d.refclassid, d.refobjid) NOT IN (SELECT classid, objid FROM parts WHERE subid = 0)
       AND (d.refclassid, d.refobjid) NOT IN (
           SELECT * FROM unnest(%(gone_catalogs)s::regclass[], %(gone)s::oid[]))
       AND (d.classid, d.objid) NOT IN (
           SELECT * FROM unnest(%(gone_catalogs)s::regclass[], %(gone)s::oid[]))
       -- Ties to parents that stay are cut.
       AND NOT EXISTS (SELECT FROM pg_inherits WHERE d.classid = 'pg_class'::regclass AND inhrelid = d.objid
                          AND d.refclassid = 'pg_class'::regclass AND inhparent = d.refobjid)
    UNION
    SELECT 'pg_tablespace'::regclass, c.reltablespace, p.label
      FROM parts AS p JOIN pg_class AS c ON p.classid = 'pg_class'::regclass AND c.oid = p.objid
     WHERE c.reltablespace >= 16384 AND p.subid = 0
)
SELECT told.type AS kind, told.identity AS name, held.label AS held_by
  FROM held CROSS JOIN LATERAL pg_identify_object(held.refclassid, held.refobjid, 0) AS told
 ORDER BY 1, 2, 3
"""


def find(session: Session, items: Sequence[Item]) -> tuple[Pin, ...]:
    """Return what the impact will hold fast outside.

    Args:
        session: In the target, before the plan has run.
        items: The impact.
    """
    copied = [item for item in items if item.action is Action.COPIED and item.address.subid]
    moved = [*copied, *(item for item in items if item.action is Action.MOVED)]
    gone = [item for item in items if item.action is Action.DEFINED and not item.address.subid]
    found = session.rows(
        _PINS,
        {
            "catalogs": [f"pg_catalog.{item.address.catalog}" for item in moved],
            "objids": [item.address.objid for item in moved],
            "subids": [item.address.subid for item in moved],
            "labels": [item.label() for item in moved],
            "gone_catalogs": [f"pg_catalog.{item.address.catalog}" for item in gone],
            "gone": [item.address.objid for item in gone],
        },
    )
    return tuple(Pin(row["kind"], row["name"], row["held_by"]) for row in found)
