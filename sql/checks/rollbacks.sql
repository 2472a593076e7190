-- Effect: none; four checks that count rollbacks in all, successful, failed and in progress, as the registry has them. A
--         failed one changed nothing and one in progress may be well: both are worth a look, and no failure of the target.
-- Locks:  ACCESS SHARE on the registry.
-- Transactional: yes, read-only.
-- Verified by: tests/integration/worker/test_checks.py

WITH told AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE rollback_status = 'completed') AS successful,
           count(*) FILTER (WHERE rollback_status = 'failed') AS failed,
           count(*) FILTER (WHERE rollback_status = 'in_progress') AS in_progress
      FROM public.rollback_status_monitor
     WHERE (migration_name = ANY (nullif(current_setting('stepback.migrations', true), '')::text[])) IS NOT FALSE
)
SELECT line.* FROM told CROSS JOIN LATERAL (
    VALUES ('rollbacks: total', 'ok', total, 'rows of the registry'),
           ('rollbacks: successful', 'ok', successful, 'completed, and not recovered'),
           ('rollbacks: failed', CASE WHEN failed = 0 THEN 'ok' ELSE 'warn' END, failed, 'each changed nothing'),
           ('rollbacks: in progress', CASE WHEN in_progress = 0 THEN 'ok' ELSE 'warn' END, in_progress, 'under way')
) AS line ("check", status, count, detail)
