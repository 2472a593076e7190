-- Effect: none; one check for each declared foreign key: it is validated, and the rows really hold it. A key says
--         nothing of rows that were written while its triggers were off, so they are counted as the server would look.
-- Locks:  ACCESS SHARE on both tables of a key, one key at a time, while each is read once.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py, test_checks_foreign_keys.py

WITH keys AS (
    SELECT con.conname, con.convalidated, con.confmatchtype = 'f' AS is_full,
           -- Columns that older servers do not have.
           coalesce((to_jsonb(con) ->> 'conperiod')::boolean, false) AS is_period,
           coalesce((to_jsonb(con) ->> 'conenforced')::boolean, true) AS is_enforced,
           format('%I.%I', cn.nspname, c.relname) AS child, format('%I.%I', pn.nspname, p.relname) AS parent,
           CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END AS child_only,
           CASE p.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END AS parent_only,
           row_security_active(c.oid) OR row_security_active(p.oid) AS is_hidden,
           columns.*
      FROM pg_constraint AS con
      JOIN pg_class AS c ON c.oid = con.conrelid JOIN pg_namespace AS cn ON cn.oid = c.relnamespace
      JOIN pg_class AS p ON p.oid = con.confrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
     CROSS JOIN LATERAL (
        SELECT array_agg(format('parent.%I OPERATOR(%I.%s) child.%I%s%s', pa.attname, opn.nspname, op.oprname, ca.attname,
                                -- As the server's own triggers do: the operator's type, the parent's collation.
                                CASE WHEN t.typtype <> 'p' THEN format('::%I.%I', tn.nspname, t.typname) END,
                                CASE WHEN pa.attcollation <> 0 AND ca.attcollation <> 0
                                     THEN format(' COLLATE %I.%I', coln.nspname, coll.collname) END)
                         ORDER BY place) AS pairs,
               string_agg(format('child.%I IS DISTINCT FROM NULL', ca.attname), ' AND ' ORDER BY place) AS all_there,
               string_agg(format('child.%I IS DISTINCT FROM NULL', ca.attname), ' OR ' ORDER BY place) AS any_there,
               string_agg(quote_ident(ca.attname), ', ' ORDER BY place) AS names,
               (array_agg(format('child.%I', ca.attname) ORDER BY place DESC))[1] AS child_last,
               (array_agg(format('parent.%I', pa.attname) ORDER BY place DESC))[1] AS parent_last
          FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY AS k (child, parent, operator, place)
          JOIN pg_attribute AS ca ON ca.attrelid = con.conrelid AND ca.attnum = k.child
          JOIN pg_attribute AS pa ON pa.attrelid = con.confrelid AND pa.attnum = k.parent
          JOIN pg_operator AS op ON op.oid = k.operator JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace
          JOIN pg_type AS t ON t.oid = op.oprright JOIN pg_namespace AS tn ON tn.oid = t.typnamespace
          LEFT JOIN pg_collation AS coll ON coll.oid = pa.attcollation
          LEFT JOIN pg_namespace AS coln ON coln.oid = coll.collnamespace
     ) AS columns
     -- What partitions have of their parent's key is looked at with it.
     WHERE con.contype = 'f' AND con.conparentid = 0 AND c.relpersistence <> 't'
       AND cn.nspname NOT LIKE 'emergency\_backup%'
       AND (con.conrelid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])
            OR con.confrelid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
), told AS (
    SELECT *, format('foreign key %s of %s', quote_ident(conname), child) AS name,
           CASE WHEN is_period
                THEN format('%s AND NOT coalesce(%s OPERATOR(pg_catalog.<@) (SELECT pg_catalog.range_agg(%s) FROM %s%s AS parent WHERE %s), false)',
                            all_there, child_last, parent_last, parent_only, parent,
                            coalesce(nullif(array_to_string(pairs[:cardinality(pairs) - 1], ' AND '), ''), 'true'))
                WHEN is_full
                THEN format('(%s) AND NOT (%s AND EXISTS (SELECT FROM %s%s AS parent WHERE %s))',
                            any_there, all_there, parent_only, parent, array_to_string(pairs, ' AND '))
                ELSE format('%s AND NOT EXISTS (SELECT FROM %s%s AS parent WHERE %s)',
                            all_there, parent_only, parent, array_to_string(pairs, ' AND ')) END AS is_orphan
      FROM keys
)
SELECT 'foreign keys' AS "check", 'ok' AS status, count(*) AS count, 'declared' AS detail, NULL AS query FROM told
UNION ALL
SELECT name, CASE WHEN NOT is_enforced OR is_hidden THEN 'warn' END, NULL,
       CASE WHEN NOT is_enforced THEN 'NOT ENFORCED: nothing holds its rows to it'
            WHEN is_hidden THEN 'not counted: row-level security hides rows from the worker' END,
       CASE WHEN is_enforced AND NOT is_hidden THEN format($query$
SELECT %1$L AS "check", count(*) AS count,
       CASE WHEN %2$L::boolean THEN CASE WHEN count(*) > 0 THEN 'fail' ELSE 'ok' END
            -- After a run: it came back as it was, or the run says why it could not be validated.
            WHEN coalesce(current_setting('stepback.after', true), '') = '' THEN 'fail' ELSE 'warn' END AS status,
       CASE WHEN count(*) > 0 THEN 'rows of ' || %3$L || ' that have no row in ' || %4$L
            ELSE 'every row of ' || %3$L || ' has its row in ' || %4$L END
       || CASE WHEN %2$L::boolean THEN '' ELSE '; not validated: ALTER TABLE ' || %5$L || ' VALIDATE CONSTRAINT ' || %6$L END
       AS detail
  FROM %7$s%5$s AS child WHERE %8$s
$query$, name, convalidated, format('%s (%s)', child, names), parent, child, quote_ident(conname), child_only,
         is_orphan) END
  FROM told
