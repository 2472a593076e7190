-- Effect: none; one check for each constraint that old rows were never held to. Foreign keys are looked at by
--         foreign_keys.sql, with their rows. After a run it is a warning: a recovery brings them back as they were.
-- Locks:  none on objects of the application.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH unvalidated AS (
    SELECT quote_ident(con.conname) AS name, coalesce(c.oid::regclass::text, con.contypid::regtype::text) AS holder,
           CASE WHEN c.oid IS NULL THEN 'DOMAIN' ELSE 'TABLE' END AS kind,
           coalesce((to_jsonb(con) ->> 'conenforced')::boolean, true) AS is_enforced
      FROM pg_constraint AS con
      JOIN pg_namespace AS n ON n.oid = con.connamespace
      LEFT JOIN pg_class AS c ON c.oid = con.conrelid
     WHERE NOT con.convalidated AND con.contype <> 'f' AND n.nspname NOT LIKE 'emergency\_backup%'
       AND coalesce(c.relpersistence, 'p') <> 't'
       AND (con.conrelid = ANY (nullif(current_setting('stepback.relations', true), '')::oid[])) IS NOT FALSE
)
SELECT format('unvalidated constraint %s of %s', name, holder) AS "check",
       CASE WHEN is_enforced AND coalesce(current_setting('stepback.after', true), '') = '' THEN 'fail' ELSE 'warn' END
           AS status, 1::bigint AS count,
       CASE WHEN is_enforced THEN format('ALTER %s %s VALIDATE CONSTRAINT %s', kind, holder, name)
            ELSE 'NOT ENFORCED: nothing holds rows to it' END AS detail
  FROM unvalidated
UNION ALL
SELECT 'unvalidated constraints', 'ok', 0, 'none' WHERE NOT EXISTS (SELECT FROM unvalidated)
