-- Gate of add_health_metrics_table: each statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Names carry their schema, so that no search path can make a check pass.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/test_sample.py runs it before, between and after.

SELECT to_regclass('public.health_metrics') IS NULL;
SELECT to_regclass('public.idx_health_metrics_business_date') IS NULL;
SELECT to_regclass('public.idx_health_metrics_score') IS NULL;
SELECT to_regtype('public.health_trajectory') IS NULL;
SELECT to_regclass('public.businesses') IS NOT NULL;
