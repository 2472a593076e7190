-- Effect: none; one check for each index that the server does not use, as a build that failed leaves it.
-- Locks:  none on objects of the application.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH invalid AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS name, x.indrelid::regclass AS relation,
           CASE WHEN c.relkind = 'I' THEN 'it waits for an index of every partition; attach them, or drop it'
                WHEN EXISTS (SELECT FROM pg_stat_progress_create_index AS building WHERE building.index_relid = c.oid)
                THEN 'it is being built' END AS is_waiting
      FROM pg_index AS x
      JOIN pg_class AS c ON c.oid = x.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE NOT (x.indisvalid AND x.indisready AND x.indislive)
       AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast' AND n.nspname NOT LIKE 'emergency\_backup%'
       AND (x.indrelid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
)
SELECT format('invalid index %s', name) AS "check", CASE WHEN is_waiting IS NULL THEN 'fail' ELSE 'warn' END AS status,
       1::bigint AS count,
       format('on %s; %s', relation, coalesce(is_waiting, format('REINDEX INDEX CONCURRENTLY %s, or drop it', name)))
           AS detail
  FROM invalid
UNION ALL
SELECT 'invalid indexes', 'ok', 0, 'none' WHERE NOT EXISTS (SELECT FROM invalid)
