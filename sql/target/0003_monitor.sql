-- Effect: creates the view rollback_status_monitor over every registry row, with the categories that operators know.
-- Locks:  ACCESS EXCLUSIVE on the view, for milliseconds.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py

CREATE OR REPLACE VIEW public.rollback_status_monitor AS
SELECT registry.migration_name,
       registry.applied_at,
       registry.rollback_applied_at,
       registry.rollback_status,
       registry.rollback_notes,
       CASE registry.rollback_status
           WHEN 'completed' THEN 'SUCCESS'
           WHEN 'in_progress' THEN 'PENDING'
           WHEN 'failed' THEN 'ERROR'
           ELSE 'UNKNOWN'
       END AS status_category
  FROM public.migration_rollbacks AS registry
 ORDER BY registry.rollback_applied_at DESC;

COMMENT ON VIEW public.rollback_status_monitor IS 'Where the rollback of each migration stands; every registry row is in it';
GRANT SELECT ON public.rollback_status_monitor TO pg_database_owner;
