-- Effect: none; one check for each preserved table that is still to come back: it is where it was put, with the rows and
--         the checksum that were counted then. Right after a rollback they have only just been counted: no check.
-- Locks:  ACCESS SHARE on tables in quarantine, one at a time, while each is read once.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py, which holds the sum to that of worker/fingerprint.py

WITH kept AS (
    SELECT * FROM emergency_backup.preserved_objects
     WHERE recovered_by IS NULL AND purged_by IS NULL AND quarantine IS NOT NULL
       AND coalesce(current_setting('stepback.after', true), '') = ''
       AND (run = ANY (nullif(current_setting('stepback.runs', true), '')::bigint[])) IS NOT FALSE
       AND (migration = ANY (nullif(current_setting('stepback.migrations', true), '')::text[])) IS NOT FALSE
), tables AS (
    SELECT DISTINCT run, format('%I.%I', quarantine, relation) AS inside, rows, checksum,
           to_regclass(format('%I.%I', quarantine, relation))::oid AS oid
      FROM kept WHERE relation IS NOT NULL
), others AS (
    SELECT run, kind, name, CASE catalog WHEN 'pg_class' THEN home.relnamespace ELSE type.typnamespace END
                            IS NOT DISTINCT FROM to_regnamespace(quote_ident(quarantine))::oid AS is_there
      FROM kept LEFT JOIN pg_class AS home ON catalog = 'pg_class' AND home.oid = objid
      LEFT JOIN pg_type AS type ON catalog = 'pg_type' AND type.oid = objid
     WHERE relation IS NULL AND how = 'moved' AND catalog IN ('pg_class', 'pg_type')
)
SELECT 'quarantine' AS "check", 'ok' AS status, (SELECT count(*) FROM tables) + (SELECT count(*) FROM others) AS count,
       'tables, types and sequences that are kept' AS detail, NULL AS query
 WHERE coalesce(current_setting('stepback.after', true), '') = ''
UNION ALL
SELECT format('quarantine of run %s: %s', run, inside),
       CASE WHEN oid IS NULL THEN 'fail' WHEN checksum IS NULL OR row_security_active(oid) THEN 'warn' END, NULL,
       CASE WHEN oid IS NULL THEN 'is missing'
            WHEN checksum IS NULL THEN 'not looked at: it was never counted'
            WHEN row_security_active(oid) THEN 'not looked at: row-level security hides rows from the worker' END,
       CASE WHEN oid IS NOT NULL AND checksum IS NOT NULL AND NOT row_security_active(oid) THEN format($query$
WITH seen AS (
    SELECT count(*) AS rows,
           coalesce(sum(hashtextextended(ARRAY[%1$s]::text[]::text COLLATE "C", 0)::numeric), 0)::text AS checksum
      FROM ONLY %2$s
)
SELECT %3$L AS "check", CASE WHEN rows = %4$L AND checksum = %5$L THEN 'ok' ELSE 'fail' END AS status, rows AS count,
       CASE WHEN rows <> %4$L THEN 'rows are there, and ' || %4$L || ' were put there: it is damaged'
            WHEN checksum <> %5$L THEN 'rows are there, but not as they were put there: it is damaged'
            ELSE 'rows are there as they were put there' END AS detail
  FROM seen
$query$, (SELECT string_agg(format('%I::text', attname), ', ' ORDER BY attname) FROM pg_attribute
           WHERE attrelid = oid AND attnum > 0 AND NOT attisdropped),
         inside, format('quarantine of run %s: %s', run, inside), rows, checksum) END
  FROM tables
UNION ALL
SELECT format('quarantine of run %s: %s %s', run, kind, name), 'fail', 1, 'is missing', NULL FROM others WHERE NOT is_there
