-- Gate of add_quickbooks_connections: each statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Names carry their schema, so that no search path can make a check pass.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/test_sample.py runs it before, between and after.

SELECT to_regclass('public.quickbooks_sync_logs') IS NULL;
SELECT to_regclass('public.quickbooks_connections') IS NULL;
SELECT to_regclass('public.idx_quickbooks_connections_company') IS NULL;
SELECT to_regclass('public.idx_quickbooks_connections_business') IS NULL;
SELECT to_regtype('public.sync_status_enum') IS NULL;
SELECT to_regclass('public.businesses') IS NOT NULL;
