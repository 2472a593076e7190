"""What a transaction has created: rows of the catalogs that it sees and a second session does not."""

from __future__ import annotations

from typing import Any

from worker.objects.keeping import Address
from worker.target import Row, Session, array

#: How the rows of each catalog are told: all of it that may be created, by OID.
_ROWS = {
    "pg_class": "relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'c')",
    "pg_constraint": "true",
    "pg_namespace": "true",
    "pg_policy": "true",
    "pg_proc": "true",
    "pg_rewrite": "rulename <> '_RETURN'",
    "pg_statistic_ext": "true",
    "pg_trigger": "NOT tgisinternal",
    "pg_type": "typelem = 0 AND typtype <> 'm' AND (typrelid = 0 OR EXISTS"
    " (SELECT FROM pg_class AS c WHERE c.oid = typrelid AND c.relkind = 'c'))",
}

#: Rows not older than our transaction: made or changed by it, or committed by others since.
_YOUNG = " UNION ALL ".join(
    f"SELECT '{catalog}' AS catalog, oid::bigint AS objid, 0 AS subid FROM pg_catalog.{catalog}"
    f" WHERE age(xmin) <= age(pg_current_xact_id()::xid) AND {told}"
    for catalog, told in _ROWS.items()
) + (
    " UNION ALL SELECT 'pg_class', attrelid::bigint, attnum FROM pg_catalog.pg_attribute"
    " WHERE age(xmin) <= age(pg_current_xact_id()::xid) AND attnum > 0 AND NOT attisdropped"
    " AND attrelid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p'))"
)

_KNOWN = " UNION ALL ".join(
    f"SELECT '{catalog}' AS catalog, oid::bigint AS objid, 0 AS subid FROM pg_catalog.{catalog}"
    " WHERE oid = ANY (%(objids)s::oid[])"
    for catalog in _ROWS
) + (
    " UNION ALL SELECT 'pg_class', attrelid::bigint, attnum FROM pg_catalog.pg_attribute"
    " WHERE attrelid = ANY (%(objids)s::oid[]) AND attnum > 0 AND NOT attisdropped"
)

#: What is a part of something else that is new is left out: it goes with that.
_TOLD = """
WITH new (classid, objid, subid) AS (
    SELECT ('pg_catalog.' || catalog)::regclass, objid, subid
      FROM unnest(%(catalogs)s::text[], %(objids)s::oid[], %(subids)s::integer[]) AS n (catalog, objid, subid)
), parts AS (
    SELECT n.classid, n.objid, n.subid FROM new AS n
      JOIN pg_depend AS d ON d.classid = n.classid AND d.objid = n.objid AND d.objsubid = n.subid
      LEFT JOIN pg_sequence AS s ON n.classid = 'pg_class'::regclass AND s.seqrelid = n.objid
     -- That of an identity column is a part of it, but not of a column which was there before.
     WHERE d.deptype IN ('P', 'S', 'e') OR d.deptype = 'i' AND s.seqrelid IS NULL
        OR d.deptype = 'i' AND (d.refclassid, d.refobjid, 0) IN (SELECT classid, objid, subid FROM new)
        OR d.deptype = 'i' AND (d.refclassid, d.refobjid, d.refobjsubid) IN (SELECT classid, objid, subid FROM new)
        OR d.deptype = 'a' AND (d.refclassid, d.refobjid) IN (SELECT classid, objid FROM new WHERE subid = 0)
        OR d.deptype = 'a' AND (d.refclassid, d.refobjid, d.refobjsubid) IN (SELECT classid, objid, subid FROM new)
)
SELECT n.classid::regclass::text AS catalog, n.objid::bigint, n.subid, told.type AS kind, told.identity AS name,
       coalesce(con.conrelid, t.tgrelid, w.ev_class, p.polrelid, s.stxrelid, i.indrelid,
                CASE WHEN n.classid = 'pg_class'::regclass THEN n.objid END)::bigint AS relation
  FROM new AS n
 CROSS JOIN LATERAL pg_identify_object(n.classid, n.objid, n.subid) AS told
  LEFT JOIN pg_index AS i ON n.classid = 'pg_class'::regclass AND i.indexrelid = n.objid
  LEFT JOIN pg_constraint AS con ON n.classid = 'pg_constraint'::regclass AND con.oid = n.objid
  LEFT JOIN pg_trigger AS t ON n.classid = 'pg_trigger'::regclass AND t.oid = n.objid
  LEFT JOIN pg_rewrite AS w ON n.classid = 'pg_rewrite'::regclass AND w.oid = n.objid
  LEFT JOIN pg_policy AS p ON n.classid = 'pg_policy'::regclass AND p.oid = n.objid
  LEFT JOIN pg_statistic_ext AS s ON n.classid = 'pg_statistic_ext'::regclass AND s.oid = n.objid
 WHERE (n.classid, n.objid, n.subid) NOT IN (SELECT classid, objid, subid FROM parts)
   AND NOT (n.subid > 0 AND (n.classid, n.objid) IN (SELECT classid, objid FROM new WHERE subid = 0))
   AND told.identity !~ '(^| on )"?(emergency_backup|pg_temp|pg_toast)'
 ORDER BY n.objid, n.subid
"""


class Created:
    """Tells what one transaction has created, a statement at a time."""

    def __init__(self, apply: Session, witness: Session) -> None:
        self._apply = apply
        self._witness = witness
        self._known: set[Address] = set()

    def since(self) -> list[Row]:
        """Return what has been created since the last time that it was asked, parts left out.

        Returns:
            Rows of `catalog`, `objid`, `subid`, `kind`, `name` (as pg_identify_object says it) and `relation`.
        """
        young = self._apply.rows(_YOUNG)
        known = self._witness.rows(_KNOWN, {"objids": array(row["objid"] for row in young)})
        old = {_address(row) for row in known} | self._known
        new = [row for row in young if _address(row) not in old]
        if not new:
            return []
        self._known.update(_address(row) for row in new)
        told: dict[str, list[Any]] = {
            "catalogs": [row["catalog"] for row in new],
            "objids": [row["objid"] for row in new],
            "subids": [row["subid"] for row in new],
        }
        return self._apply.rows(_TOLD, told)


def _address(row: Row) -> Address:
    return Address(row["catalog"], row["objid"], row["subid"])
