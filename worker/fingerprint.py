"""Fingerprints of schema and data: equal before a rollback and after its recovery, column order aside."""

from __future__ import annotations

from dataclasses import dataclass

from worker.objects.column_options import OPTIONS
from worker.target import Session

#: What sql/target puts beside the application's objects.
_OWN = (
    "public.migration_rollbacks",
    "public.migration_rollbacks_id_seq",
    "public.migration_rollbacks_record_writer",
    "public.rollback_status_monitor",
)


@dataclass(frozen=True)
class TableSum:
    """Rows of a table and an order-independent sum over them."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Fingerprint:
    """What a database holds: one line per catalog fact, one sum per table."""

    schema: tuple[str, ...]
    data: tuple[tuple[str, TableSum], ...]


def of_table(session: Session, table: str) -> TableSum:
    """Take rows and checksum of a table.

    The sum does not depend on the order of rows or columns. Session settings that change how values print are
    pinned by `worker.target`.

    Args:
        session: In the database of the table.
        table: Qualified and quoted.
    """
    columns: list[str] = session.value(
        "SELECT array_agg(quote_ident(attname) ORDER BY attname) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    parts = ", ".join(f"{name}::text" for name in columns or [])
    # Columns of several collations have none in common to hash with.
    row = f'ARRAY[{parts}]::text[]::text COLLATE "C"'
    found = session.row(
        "SELECT count(*) AS rows,"
        f" coalesce(sum(hashtextextended({row}, 0)::numeric), 0)::text AS checksum FROM ONLY {table}"
    )
    assert found is not None  # noqa: S101 - an aggregate always has a row
    return TableSum(found["rows"], found["checksum"])


def of_database(session: Session) -> Fingerprint:
    """Take the fingerprint of everything that belongs to the application; Stepback's own objects do not count."""
    schema = tuple(row["fact"] for row in session.rows(_SCHEMA, {"leave_out": list(_OWN)}))
    tables = session.rows(_TABLES, {"leave_out": list(_OWN)})
    data = tuple((row["name"], of_table(session, row["name"])) for row in tables)
    return Fingerprint(schema, data)


_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'emergency\\_backup%%'
   AND NOT format('%%s.%%s', n.nspname, c.relname) = ANY (%(leave_out)s)
 ORDER BY 1
"""

_SCHEMA = f"""
WITH ours AS (
    SELECT c.*, n.nspname, format('%%I.%%I', n.nspname, c.relname) AS name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND n.nspname NOT LIKE 'emergency\\_backup%%' AND c.relpersistence <> 't'
       AND NOT format('%%s.%%s', n.nspname, c.relname) = ANY (%(leave_out)s)
), facts (fact) AS (
    SELECT concat_ws(' | ', 'relation', name, relkind, relpersistence, pg_get_userbyid(relowner),
                     (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(
                          coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
                      AS acl)::text,
                     reloptions::text, relrowsecurity, relforcerowsecurity, relreplident, relispartition,
                     (SELECT spcname FROM pg_tablespace WHERE oid = reltablespace), obj_description(oid, 'pg_class'),
                     relispopulated, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
                     (SELECT array_agg(inhparent::regclass ORDER BY inhseqno) FROM pg_inherits
                       WHERE inhrelid = ours.oid)::text)
      FROM ours WHERE relkind <> 'i' OR NOT EXISTS (SELECT FROM pg_index AS x JOIN pg_class AS t ON t.oid = x.indrelid
           JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
           WHERE x.indexrelid = ours.oid AND format('%%s.%%s', tn.nspname, t.relname) = ANY (%(leave_out)s))
    UNION ALL
    SELECT concat_ws(' | ', 'column', name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                     a.attidentity, a.attgenerated, a.attstorage, a.attcompression, a.attcollation::regcollation,
                     {OPTIONS}::text,
                     CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
                     (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(a.attacl) AS acl)::text,
                     pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum), a.attislocal,
                     a.attinhcount)
      FROM ours JOIN pg_attribute AS a ON a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
    UNION ALL
    SELECT concat_ws(' | ', 'constraint', name, con.conname, con.contype, con.convalidated,
                     pg_get_constraintdef(con.oid), obj_description(con.oid, 'pg_constraint'), con.conislocal,
                     con.coninhcount)
      FROM ours JOIN pg_constraint AS con ON con.conrelid = ours.oid
    UNION ALL
    SELECT concat_ws(' | ', 'domain constraint', con.contypid::regtype, con.conname, con.contype, con.convalidated,
                     pg_get_constraintdef(con.oid), obj_description(con.oid, 'pg_constraint'))
      FROM pg_constraint AS con JOIN pg_namespace AS n ON n.oid = con.connamespace
     WHERE con.contypid <> 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND n.nspname NOT LIKE 'emergency\\_backup%%'
    UNION ALL
    SELECT concat_ws(' | ', 'index', name, pg_get_indexdef(x.indexrelid), x.indisvalid, x.indisclustered,
                     x.indisreplident, obj_description(x.indexrelid, 'pg_class'))
      FROM ours JOIN pg_index AS x ON x.indrelid = ours.oid
    UNION ALL
    SELECT concat_ws(' | ', 'trigger', name, t.tgenabled, pg_get_triggerdef(t.oid),
                     obj_description(t.oid, 'pg_trigger'))
      FROM ours JOIN pg_trigger AS t ON t.tgrelid = ours.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT concat_ws(' | ', 'rule', name, w.ev_enabled, pg_get_ruledef(w.oid), obj_description(w.oid, 'pg_rewrite'))
      FROM ours JOIN pg_rewrite AS w ON w.ev_class = ours.oid
    UNION ALL
    SELECT concat_ws(' | ', 'policy', name, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[]::text,
                     pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
                     obj_description(p.oid, 'pg_policy'))
      FROM ours JOIN pg_policy AS p ON p.polrelid = ours.oid
    UNION ALL
    SELECT concat_ws(' | ', 'statistics', pg_get_statisticsobjdef(s.oid), pg_get_userbyid(s.stxowner), s.stxstattarget,
                     obj_description(s.oid, 'pg_statistic_ext'))
      FROM ours JOIN pg_statistic_ext AS s ON s.stxrelid = ours.oid
    UNION ALL
    SELECT concat_ws(' | ', 'publication', name, p.pubname, pg_get_expr(r.prqual, r.prrelid),
                     (SELECT array_agg(attname ORDER BY attname) FROM pg_attribute
                       WHERE attrelid = r.prrelid AND attnum = ANY (r.prattrs))::text)
      FROM ours JOIN pg_publication_rel AS r ON r.prrelid = ours.oid JOIN pg_publication AS p ON p.oid = r.prpubid
    UNION ALL
    SELECT concat_ws(' | ', 'sequence', name, to_jsonb(s) - 'seqrelid', q.last_value,
                     (SELECT format('%%s %%s', d.refobjid::regclass, a.attname) FROM pg_depend AS d
                        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = ours.oid AND d.deptype IN ('a', 'i')))
      FROM ours JOIN pg_sequence AS s ON s.seqrelid = ours.oid
      JOIN pg_sequences AS q ON q.schemaname = ours.nspname AND q.sequencename = ours.relname
    UNION ALL
    SELECT concat_ws(' | ', 'type', format('%%I.%%I', n.nspname, t.typname), t.typtype, pg_get_userbyid(t.typowner),
                     (SELECT array_agg(acl::text ORDER BY acl::text)
                        FROM unnest(coalesce(t.typacl, acldefault('T', t.typowner))) AS acl)::text,
                     obj_description(t.oid, 'pg_type'), t.typarray::regtype,
                     (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)::text,
                     CASE WHEN t.typtype = 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
                          t.typcollation::regcollation, t.typnotnull, t.typdefault) END,
                     (SELECT concat_ws(' ', rngsubtype::regtype, rngmultitypid::regtype, rngcollation::regcollation,
                                       opcname, rngcanonical, rngsubdiff)
                        FROM pg_range JOIN pg_opclass AS o ON o.oid = rngsubopc WHERE rngtypid = t.oid))
      FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
     WHERE t.typtype IN ('e', 'c', 'd', 'r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND n.nspname NOT LIKE 'emergency\\_backup%%'
       AND NOT format('%%s.%%s', n.nspname, t.typname) = ANY (%(leave_out)s)
    UNION ALL
    SELECT concat_ws(' | ', p.prokind::text || ' function', p.oid::regprocedure, pg_get_userbyid(p.proowner),
                     (SELECT array_agg(acl::text ORDER BY acl::text)
                        FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl)::text,
                     obj_description(p.oid, 'pg_proc'), pg_get_function_arguments(p.oid), p.proparallel, p.procost,
                     CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, (to_jsonb(a) - 'aggfnoid')::text)
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
      LEFT JOIN pg_aggregate AS a ON a.aggfnoid = p.oid
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'emergency\\_backup%%'
       AND NOT format('%%s.%%s', n.nspname, p.proname) = ANY (%(leave_out)s)
    UNION ALL
    SELECT concat_ws(' | ', 'schema', nspname, pg_get_userbyid(nspowner),
                     (SELECT array_agg(acl::text ORDER BY acl::text)
                        FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) AS acl)::text,
                     obj_description(oid, 'pg_namespace'))
      FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%%' AND nspname NOT LIKE 'emergency\\_backup%%'
)
SELECT fact FROM facts ORDER BY fact
"""
