"""Ranges are kept as definitions: only the superuser can move their constructors, which are made with the type."""

from __future__ import annotations

from worker.objects import ownership
from worker.objects.definition import comment
from worker.objects.keeping import GONE, Address, Item, Keeping, Permits, quoted
from worker.objects.quarantine import Quarantine
from worker.target import Session

#: First server version on which a multirange has the owner and the privileges of its range.
MULTIRANGE_FOLLOWS = 170000

_RANGE = """
SELECT n.nspname AS schema, t.typname AS name, pg_get_userbyid(t.typowner) AS owner,
       format_type(r.rngsubtype, NULL) AS subtype, mn.nspname AS multirange_schema, m.typname AS multirange,
       m.oid::bigint AS multirange_oid, pg_get_userbyid(m.typowner) AS multirange_owner,
       r.rngsubdiff <> 0 AS has_diff, dn.nspname AS diff_schema, d.proname AS diff,
       opn.nspname AS opclass_schema, o.opcname AS opclass, cn.nspname AS collation_schema, c.collname AS collation
  FROM pg_range AS r
  JOIN pg_type AS t ON t.oid = r.rngtypid
  JOIN pg_namespace AS n ON n.oid = t.typnamespace
  JOIN pg_type AS m ON m.oid = r.rngmultitypid
  JOIN pg_namespace AS mn ON mn.oid = m.typnamespace
  JOIN pg_opclass AS o ON o.oid = r.rngsubopc
  JOIN pg_namespace AS opn ON opn.oid = o.opcnamespace
  LEFT JOIN pg_proc AS d ON d.oid = r.rngsubdiff
  LEFT JOIN pg_namespace AS dn ON dn.oid = d.pronamespace
  LEFT JOIN pg_collation AS c ON c.oid = r.rngcollation
  LEFT JOIN pg_namespace AS cn ON cn.oid = c.collnamespace
 WHERE r.rngtypid = %s
"""

#: What comes and goes with it: its array, its multirange and that one's array, constructors and the cast.
_PARTS = """
WITH types AS (
    SELECT t.oid, t.typarray FROM pg_range AS r JOIN pg_type AS t ON t.oid IN (r.rngtypid, r.rngmultitypid)
     WHERE r.rngtypid = %(range)s
)
SELECT 'pg_type' AS catalog, oid::bigint, NULL AS constructor FROM types
UNION ALL
SELECT 'pg_type', typarray, NULL FROM types WHERE typarray <> 0
UNION ALL
SELECT d.classid::regclass::text, d.objid, d.objid::regprocedure::text
  FROM types JOIN pg_depend AS d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = types.oid AND d.deptype = 'i'
 WHERE d.classid = 'pg_proc'::regclass
UNION ALL
SELECT d.classid::regclass::text, d.objid, NULL
  FROM types JOIN pg_depend AS d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = types.oid AND d.deptype = 'i'
 WHERE d.classid = 'pg_cast'::regclass
"""


def keep(session: Session, item: Item, _quarantine: Quarantine) -> Keeping:
    """Say how a range is kept that nothing kept is of: dropped, and created again from its definition."""
    oid = item.address.objid
    found = session.row(_RANGE, (oid,))
    assert found is not None  # noqa: S101 - the impact was computed in this transaction
    name = quoted(found["schema"], found["name"])
    multirange = quoted(found["multirange_schema"], found["multirange"])
    options = [
        f"SUBTYPE = {found['subtype']}",
        f"SUBTYPE_OPCLASS = {quoted(found['opclass_schema'], found['opclass'])}",
    ]
    if found["collation"] is not None:
        options.append(f"COLLATION = {quoted(found['collation_schema'], found['collation'])}")
    if found["has_diff"]:
        options.append(f"SUBTYPE_DIFF = {quoted(found['diff_schema'], found['diff'])}")
    own: tuple[str, ...] = ()
    if session.server_version < MULTIRANGE_FOLLOWS:
        owner = quoted(found["multirange_owner"])
        privileges = ownership.again(session, Address("pg_type", found["multirange_oid"]), f"TYPE {multirange}")
        own = (f"ALTER TYPE {multirange} OWNER TO {owner}", *privileges)
    options.append(f"MULTIRANGE_TYPE_NAME = {multirange}")
    parts = session.rows(_PARTS, {"range": oid})
    of_range = Address("pg_type", found["multirange_oid"])
    permits: Permits = {Address(part["catalog"], part["oid"]): GONE for part in parts}
    return Keeping(
        item,
        remove=(f"DROP TYPE {name}",),
        restore=(
            f"CREATE TYPE {name} AS RANGE ({', '.join(options)})",
            f"ALTER TYPE {name} OWNER TO {quoted(found['owner'])}",
            *own,
            *ownership.again(session, item.address, f"TYPE {name}"),
            *comment(session, item.address, f"TYPE {name}"),
            *comment(session, of_range, f"TYPE {multirange}"),
        ),
        permits=permits,
        facts={
            "schema": found["schema"],
            "name": found["name"],
            "type_must_be_free": name,
            "also_must_be_free": [
                f"TYPE {multirange}",
                *(f"FUNCTION {part['constructor']}" for part in parts if part["constructor"] is not None),
            ],
        },
    )
