-- Effect: none; one check for each sequence that fills a column: its next value must lie beyond every value there.
-- Locks:  ACCESS SHARE on the table and the sequence, one at a time, while the highest value is looked for.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH filling AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
      FROM pg_depend AS d
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
       -- An identity. One that is only owned by a column need not fill it: its default says so, below.
       AND d.deptype = 'i'
    UNION
    SELECT d.refobjid, a.adrelid, a.adnum
      FROM pg_attrdef AS a
      JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
     WHERE d.deptype = 'n' AND pg_get_expr(a.adbin, a.adrelid) LIKE 'nextval(%::regclass)'
), named AS (
    SELECT format('%I.%I', sn.nspname, sc.relname) AS sequence, format('%I.%I', n.nspname, c.relname) AS relation,
           a.attname, s.seqincrement, row_security_active(c.oid) AS is_hidden
      FROM filling
      JOIN pg_sequence AS s ON s.seqrelid = filling.sequence
      JOIN pg_class AS sc ON sc.oid = filling.sequence JOIN pg_namespace AS sn ON sn.oid = sc.relnamespace
      JOIN pg_class AS c ON c.oid = filling.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_attribute AS a ON a.attrelid = filling.relation AND a.attnum = filling.number
     -- One that begins anew at its end is never behind.
     WHERE NOT s.seqcycle AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
       AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname NOT LIKE 'emergency\_backup%'
       AND (c.oid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
)
SELECT 'sequences' AS "check", 'ok' AS status, count(*) AS count, 'fill a column' AS detail, NULL AS query FROM named
UNION ALL
SELECT format('sequence %s', sequence), CASE WHEN is_hidden THEN 'warn' END, NULL,
       CASE WHEN is_hidden THEN 'not looked at: row-level security hides rows from the worker' END,
       CASE WHEN NOT is_hidden THEN format($query$
WITH next AS (
    SELECT CASE WHEN is_called THEN last_value::numeric + %1$s ELSE last_value END AS value FROM %2$s
), seen AS (
    SELECT coalesce(greatest(0, CASE WHEN %1$s > 0 THEN max(filled.%3$I) - min(next.value)
                                     ELSE min(next.value) - min(filled.%3$I) END + 1), 0)
           AS behind
      FROM %4$s AS filled CROSS JOIN next
)
SELECT %5$L AS "check", CASE WHEN behind = 0 THEN 'ok' ELSE 'fail' END AS status, behind::bigint AS count,
       CASE WHEN behind = 0 THEN 'is beyond every value of ' || %6$L
            ELSE 'how far it is behind ' || %6$L || '; set it with setval before the next insert' END AS detail
  FROM seen
$query$, seqincrement, sequence, attname, relation, format('sequence %s', sequence), format('%s.%I', relation, attname)) END
  FROM named
