-- Effect: none; one check for each of the three pairs of the marketplace, whether a foreign key is declared or not: a row
--         without a business counts too. Only where both tables stand in public with these columns: elsewhere no check.
-- Locks:  ACCESS SHARE on both tables of a pair, while each is read once.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH pairs (name, relation, child) AS (
    VALUES ('Orphaned business views', to_regclass('public.business_views'), 'business_views'),
           ('Orphaned evaluations', to_regclass('public.evaluations'), 'evaluations'),
           ('Orphaned inquiries', to_regclass('public.inquiries'), 'inquiries')
), seen AS (
    SELECT pairs.*, row_security_active(relation) OR row_security_active(parent.attrelid) AS is_hidden,
           parent.attrelid AS parent
      FROM pairs
      JOIN pg_attribute AS a ON a.attrelid = pairs.relation AND a.attname = 'business_id' AND NOT a.attisdropped
      JOIN pg_attribute AS parent ON parent.attrelid = to_regclass('public.businesses') AND parent.attname = 'id'
                                  AND parent.atttypid = a.atttypid AND NOT parent.attisdropped
)
SELECT name AS "check", CASE WHEN is_hidden THEN 'warn' END AS status, NULL::bigint AS count,
       CASE WHEN is_hidden THEN 'not counted: row-level security hides rows from the worker' END AS detail,
       CASE WHEN NOT is_hidden THEN format($query$
SELECT %L AS "check", CASE WHEN count(*) = 0 THEN 'ok' ELSE 'fail' END AS status, count(*) AS count,
       'rows of %s without a business' AS detail
  FROM public.%I AS child
 WHERE NOT EXISTS (SELECT FROM public.businesses AS b WHERE b.id = child.business_id)
$query$, name, child, child) END AS query
  FROM seen
 WHERE (relation::oid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])
        OR parent = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
 ORDER BY name
