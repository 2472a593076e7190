-- Fresh planner statistics for the sample, so that the first query and the first estimate are not guesses.
--
-- Effect: statistics of the eleven sample tables; no row and no definition changes.
-- Locks: SHARE UPDATE EXCLUSIVE on one table at a time when run on its own: reads and writes go on.
--     Well under a second at full scale.
-- Transactional: it may be, but run it after the rows are committed, so that each lock is given back at once.
-- Verified by: tests/integration/test_sample.py (row estimates are there after a load).

ANALYZE
  public.users, public.businesses, public.evaluations, public.business_views, public.inquiries, public.price_alerts,
  public.health_metrics, public.forecast_results, public.quickbooks_connections, public.quickbooks_sync_logs,
  public.health_alerts;
