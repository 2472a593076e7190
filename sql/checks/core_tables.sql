-- Effect: none; one check for the rows, the titles or emails, and the statuses of businesses and users.
--         Only where both tables stand in public with all these columns: elsewhere no check.
-- Locks:  ACCESS SHARE on businesses and users, while each is read once.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH core (relation, name, named, plural) AS (
    VALUES (to_regclass('public.businesses'), 'businesses', 'title', 'titles'),
           (to_regclass('public.users'), 'users', 'email', 'emails')
), present AS (
    SELECT count(*) = 4 AS whole
      FROM core JOIN pg_attribute AS a ON a.attrelid = core.relation AND a.attname IN (core.named, 'status')
     WHERE NOT a.attisdropped
)
SELECT 'core table ' || name AS "check",
       CASE WHEN row_security_active(relation) THEN 'warn' END AS status, NULL::bigint AS count,
       CASE WHEN row_security_active(relation) THEN 'not counted: row-level security hides rows from the worker' END
           AS detail,
       CASE WHEN NOT row_security_active(relation) THEN format($query$
WITH seen AS (
    SELECT count(*) AS rows, count(*) FILTER (WHERE coalesce(btrim(%1$I::text), '') = '') AS unnamed,
           count(*) FILTER (WHERE status IS NULL) AS unknown
      FROM public.%2$I
)
SELECT 'core table %2$s: rows' AS "check", CASE WHEN rows = 0 THEN 'warn' ELSE 'ok' END AS status, rows AS count,
       CASE WHEN rows = 0 THEN 'the table is empty' ELSE 'rows in the table' END AS detail FROM seen
UNION ALL
SELECT 'core table %2$s: %3$s', CASE WHEN unnamed = 0 THEN 'ok' ELSE 'fail' END, unnamed,
       format('%%s of %%s rows have a valid %1$s', rows - unnamed, rows) FROM seen
UNION ALL
SELECT 'core table %2$s: statuses', CASE WHEN unknown = 0 THEN 'ok' ELSE 'fail' END, unknown,
       format('%%s of %%s rows have a status', rows - unknown, rows) FROM seen
$query$, named, name, plural) END AS query
  FROM core CROSS JOIN present
 WHERE present.whole
   AND (relation::oid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
 ORDER BY name
