-- Effect: none; one check for each table with triggers that do not fire, those of foreign keys included. After a run it is
--         a warning: a recovery brings them back as they were, and a rollback disables none that its plan does not.
-- Locks:  none on objects of the application.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH silent AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS relation, t.tgenabled = 'D' AS is_disabled, t.tgisinternal AS is_internal,
           CASE WHEN t.tgisinternal THEN coalesce('foreign key ' || quote_ident(con.conname), 'a constraint')
                ELSE quote_ident(t.tgname) END AS name
      FROM pg_trigger AS t
      JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
      LEFT JOIN pg_constraint AS con ON con.oid = t.tgconstraint
     WHERE t.tgenabled IN ('D', 'R') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'emergency\_backup%'
       AND (t.tgrelid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
)
SELECT format('disabled triggers of %s', relation) AS "check",
       CASE WHEN bool_or(is_disabled OR is_internal) AND coalesce(current_setting('stepback.after', true), '') = ''
            THEN 'fail' ELSE 'warn' END AS status,
       count(DISTINCT name) AS count,
       string_agg(DISTINCT name || CASE WHEN is_disabled THEN '' ELSE ' (only on a replica)' END, ', ') AS detail
  FROM silent GROUP BY relation
UNION ALL
SELECT 'disabled triggers', 'ok', 0, 'none' WHERE NOT EXISTS (SELECT FROM silent)
