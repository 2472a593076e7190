-- Gate of add_health_alerts: each statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Names carry their schema, so that no search path can make a check pass.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/test_sample.py runs it before, between and after.

SELECT to_regclass('public.health_alerts') IS NULL;
SELECT to_regclass('public.idx_health_alerts_business_severity') IS NULL;
SELECT to_regclass('public.idx_health_alerts_triggered_at') IS NULL;
SELECT to_regtype('public.alert_type_enum') IS NULL;
SELECT to_regtype('public.alert_severity_enum') IS NULL;
SELECT to_regclass('public.businesses') IS NOT NULL;
