-- Gate of remove_ai_enums: each statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Exact names: a type of somebody else with "alert" in its name is not ours.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/worker/test_composite.py

SELECT to_regtype('public.alert_severity_enum') IS NULL;
SELECT to_regtype('public.alert_type_enum') IS NULL;
SELECT to_regtype('public.sync_status_enum') IS NULL;
SELECT to_regtype('public.forecast_type_enum') IS NULL;
SELECT to_regtype('public.health_trajectory') IS NULL;
