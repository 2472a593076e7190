-- Effect: none; one check for each object that a completed rollback removed and whose exact name is there again. What the
--         run itself put in its place does not count, nor what a migration brought that was registered again since.
-- Locks:  none on objects of the application.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH gone AS (
    SELECT kept.*
      FROM emergency_backup.preserved_objects AS kept
      JOIN emergency_backup.marker AS marker USING (installation, run)
     CROSS JOIN LATERAL (
        SELECT rollback_status, registry.run FROM public.migration_rollbacks AS registry
         WHERE registry.migration_name = kept.migration ORDER BY registry.id DESC LIMIT 1
     ) AS newest
     WHERE marker.kind = 'rollback' AND kept.recovered_by IS NULL AND kept.how IN ('moved', 'copied', 'defined')
       -- Copied are values of columns that are gone, but also those of columns, rows and views that only changed.
       AND (kept.how <> 'copied' OR EXISTS (SELECT FROM pg_attribute AS dropped
                                             WHERE dropped.attrelid = kept.objid AND dropped.attnum = kept.objsubid
                                               AND dropped.attisdropped))
       AND newest.rollback_status = 'completed' AND newest.run = kept.run
       AND (kept.run = ANY (nullif(current_setting('stepback.runs', true), '')::bigint[])) IS NOT FALSE
       AND (kept.migration = ANY (nullif(current_setting('stepback.migrations', true), '')::text[])) IS NOT FALSE
), there AS (
    SELECT gone.*, coalesce(a.attnum, 0) AS found_number,
           CASE WHEN objsubid > 0 THEN a.attrelid
                WHEN kind = 'index'
                THEN to_regclass(format('%I.%I', definition #>> '{facts,index,0}', definition #>> '{facts,index,2}'))::oid
                WHEN catalog = 'pg_class' THEN to_regclass(name)::oid
                WHEN catalog = 'pg_type' THEN to_regtype(name)::oid
                -- Before 16 to_regprocedure raises an error where a type of an argument is gone.
                WHEN kind IN ('function', 'procedure')
                THEN (SELECT p.oid FROM pg_proc AS p WHERE strpos(name, quote_ident(p.proname)) > 0
                         AND (pg_identify_object('pg_proc'::regclass, p.oid, 0)).identity = name) END AS found
      FROM gone
      LEFT JOIN pg_attribute AS a ON objsubid > 0 AND a.attrelid = objid AND NOT a.attisdropped
                                 AND a.attname = definition #>> '{facts,column}'
), remnants AS (
    SELECT * FROM there
     WHERE found IS NOT NULL
       AND NOT EXISTS (SELECT FROM emergency_backup.preserved_objects AS own
                        WHERE own.installation = there.installation AND own.run = there.run
                          AND own.how IN ('changed', 'created')
                          AND (own.objid = there.found AND own.objsubid = there.found_number
                               -- A constraint that the plan makes brings its index along.
                               OR own.catalog = 'pg_constraint' AND there.found IN (
                                   SELECT conindid FROM pg_constraint WHERE oid = own.objid)))
)
SELECT format('remnant %s %s', kind, name) AS "check", 'fail' AS status, 1::bigint AS count,
       format('is there again, though run %s removed it with %s; register the migration again if it was applied again',
              run, migration) AS detail
  FROM remnants
UNION ALL
SELECT 'remnants', 'ok', count(*), 'objects that completed rollbacks removed are gone by name'
  FROM gone WHERE NOT EXISTS (SELECT FROM remnants)
