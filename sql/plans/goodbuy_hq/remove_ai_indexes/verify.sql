-- Gate of remove_ai_indexes: the statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Exact names: a pattern like %health% would find primary keys and never pass.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/worker/test_composite.py

SELECT count(*) = 0 FROM unnest(ARRAY[
  'public.idx_health_metrics_business_date', 'public.idx_health_metrics_score',
  'public.idx_forecast_results_business_type', 'public.idx_forecast_results_date',
  'public.idx_quickbooks_connections_company', 'public.idx_quickbooks_connections_business',
  'public.idx_quickbooks_sync_logs_connection',
  'public.idx_health_alerts_business_severity', 'public.idx_health_alerts_triggered_at'
]) AS name WHERE to_regclass(name) IS NOT NULL;
