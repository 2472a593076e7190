-- Gate of complete_ai_schema: each statement must be true for the rollback to commit, after the gates of all members.
--
-- Effect: none, it only reads the catalog. Exact names, never patterns: price_alerts is not ours.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/worker/test_composite.py

SELECT count(*) = 0 FROM unnest(ARRAY[
  'public.health_metrics', 'public.forecast_results', 'public.quickbooks_connections', 'public.quickbooks_sync_logs',
  'public.health_alerts'
]) AS name WHERE to_regclass(name) IS NOT NULL;
SELECT count(*) = 0 FROM unnest(ARRAY[
  'public.health_trajectory', 'public.forecast_type_enum', 'public.sync_status_enum', 'public.alert_type_enum',
  'public.alert_severity_enum'
]) AS name WHERE to_regtype(name) IS NOT NULL;
-- The old system is whole: without this, a database in which everything vanished would pass.
SELECT count(*) = 6 FROM unnest(ARRAY[
  'public.users', 'public.businesses', 'public.evaluations', 'public.business_views', 'public.inquiries',
  'public.price_alerts'
]) AS name WHERE to_regclass(name) IS NOT NULL;
