-- Rows that the AI health analyzer wrote after its five migrations: what a rollback must not lose.
--
-- Effect: fills health_metrics, forecast_results, quickbooks_connections, quickbooks_sync_logs and health_alerts, and
--     the four new columns for part of the businesses. Needs 0002_old_rows.sql in the same session, for pg_temp.sized.
-- Locks: ROW EXCLUSIVE on the tables it fills, SHARE ROW EXCLUSIVE on businesses (its trigger is off while the columns
--     are filled), until the transaction ends; about two seconds at full scale.
-- Transactional: yes, and meant to run inside the caller's transaction.
-- Verified by: tests/integration/test_sample.py (counts, awkward rows present, two loads give the same rows).

-- Off, so that updated_at keeps its value and the rows are the same at every load.
ALTER TABLE businesses DISABLE TRIGGER businesses_touch_updated_at;

-- Of twelve businesses in a row: five with several columns filled, one with nothing but auto_sync_enabled, one with
-- nothing but last_health_calculation, one with NULL where the default is false, and four left at the defaults.
UPDATE businesses b SET
  health_score_enabled = CASE WHEN n % 12 = 6 THEN NULL ELSE n % 12 IN (0, 1, 5) END,
  last_health_calculation =
    CASE WHEN n % 12 IN (0, 1, 4, 5) THEN timestamp '2025-08-01 02:30' + n * interval '11 minutes' END,
  quickbooks_company_id = CASE WHEN n % 12 IN (2, 5, 7) THEN '9130' || lpad(n::text, 9, '0') END,
  auto_sync_enabled = n % 12 IN (2, 3, 5)
FROM generate_series(1, (SELECT count(*) FROM businesses)) AS n
WHERE b.id = md5('business:' || n)::uuid AND n % 12 < 8;

ALTER TABLE businesses ENABLE TRIGGER businesses_touch_updated_at;

INSERT INTO health_metrics (
  id, business_id, overall_score, growth_score, operational_score, financial_score, sale_readiness_score,
  confidence_level, trajectory, calculated_at, data_sources, calculation_metadata, created_at, updated_at
)
SELECT
  md5('health:' || n)::uuid,
  md5('business:' || 1 + n % b.total)::uuid,
  CASE WHEN n % 17 <> 0 THEN (n * 37) % 101 END,
  (n * 53) % 101,
  (n * 71) % 101,
  CASE WHEN n % 19 <> 0 THEN (n * 83) % 101 END,
  (n * 97) % 101,
  40 + (n * 29) % 61,
  (ARRAY['stable', 'improving', 'stable', 'declining', 'critical'])[1 + n % 5]::health_trajectory,
  timestamp '2025-03-01' + n / b.total * interval '7 days' + n % 1440 * interval '1 minute',
  CASE
    WHEN n % 4 <> 0 THEN jsonb_build_array('manual', 'tax_return')
    WHEN n % 8 <> 0 THEN jsonb_build_array('quickbooks', 'bank_feed', 'manual')
  END,
  CASE WHEN n % 13 <> 0 THEN jsonb_build_object(
    'model', 'health-v' || 1 + n % 3,
    'inputs', n % 40,
    'weights', jsonb_build_object('growth', 0.30, 'financial', 0.45, 'operational', 0.25),
    'note', CASE WHEN n % 50 = 0 THEN 'geprüft “von Hand” ✓' END
  ) END,
  timestamp '2025-03-01' + n / b.total * interval '7 days' + n % 1440 * interval '1 minute',
  timestamp '2025-03-01' + n / b.total * interval '7 days' + n % 1440 * interval '2 minutes'
FROM generate_series(1, pg_temp.sized(whole => 52800, small => 200)) AS n,
  (SELECT count(*)::integer AS total FROM businesses) AS b;

INSERT INTO forecast_results (
  id, business_id, forecast_type, forecast_period, predicted_value, confidence_interval_lower,
  confidence_interval_upper, confidence_score, model_used, forecast_date, actual_value, accuracy_score, created_at
)
SELECT
  md5('forecast:' || n)::uuid,
  md5('business:' || 1 + (n * 7) % b.total)::uuid,
  (ARRAY['revenue', 'profit', 'cash_flow', 'valuation'])[1 + n % 4]::forecast_type_enum,
  (ARRAY[3, 6, 12])[1 + n % 3],
  f.predicted,
  f.predicted * 0.9,
  f.predicted * 1.1,
  40 + (n * 43) % 61,
  'arima-' || 1 + n % 2,
  timestamp '2025-04-01' + n * interval '17 minutes',
  CASE WHEN n % 3 = 0 THEN f.predicted * 0.97 END,
  CASE WHEN n % 3 = 0 THEN 97.00 END,
  timestamp '2025-04-01' + n * interval '17 minutes'
FROM generate_series(1, pg_temp.sized(whole => 6000, small => 120)) AS n,
  (SELECT count(*)::integer AS total FROM businesses) AS b,
  LATERAL (SELECT 10000 + (n * 3911) % 800000 + 0.75 AS predicted) AS f;

INSERT INTO quickbooks_connections (
  id, business_id, company_id, access_token_encrypted, refresh_token_encrypted, token_expires_at, last_sync_at,
  sync_status, sync_errors, webhook_subscriptions, created_at, updated_at
)
SELECT
  md5('connection:' || n)::uuid,
  b.id,
  b.quickbooks_company_id,
  'enc:v1:' || md5('access:' || n),
  CASE WHEN n % 9 <> 0 THEN 'enc:v1:' || md5('refresh:' || n) END,
  timestamp '2025-09-01' + n * interval '1 hour',
  CASE WHEN n % 7 <> 0 THEN timestamp '2025-08-20' + n * interval '19 minutes' END,
  (ARRAY['completed', 'pending', 'completed', 'failed', 'syncing'])[1 + n % 5]::sync_status_enum,
  CASE WHEN n % 5 = 3 THEN jsonb_build_array(jsonb_build_object('code', 'token_expired', 'tries', n % 4)) END,
  CASE WHEN n % 2 = 0 THEN '["invoice", "payment"]'::jsonb END,
  timestamp '2025-05-01' + n * interval '1 hour',
  timestamp '2025-08-20' + n * interval '19 minutes'
FROM generate_series(1, (SELECT count(*) FROM businesses)) AS n
JOIN businesses b ON b.id = md5('business:' || n)::uuid
WHERE b.quickbooks_company_id IS NOT NULL;

INSERT INTO quickbooks_sync_logs (connection_id, status, records_synced, started_at, finished_at, error_message)
SELECT
  c.id,
  (ARRAY['completed', 'completed', 'failed', 'completed', 'syncing'])[1 + n % 5]::sync_status_enum,
  CASE WHEN n % 5 IN (2, 4) THEN 0 ELSE (n * 41) % 900 END,
  c.created_at + n * interval '1 day',
  CASE WHEN n % 5 <> 4 THEN c.created_at + n * interval '1 day 3 seconds' END,
  CASE WHEN n % 5 = 2 THEN 'rate limit reached, 100 % of quota' END
FROM quickbooks_connections c, generate_series(1, pg_temp.sized(whole => 10, small => 3)) AS n
ORDER BY c.company_id, n;

INSERT INTO health_alerts (
  id, business_id, alert_type, severity, title, description, threshold_value, actual_value,
  triggered_at, acknowledged_at, resolved_at, metadata
)
SELECT
  md5('alert:' || n)::uuid,
  md5('business:' || 1 + (n * 11) % (SELECT count(*) FROM businesses))::uuid,
  (ARRAY['score_drop', 'cash_flow', 'stale_data', 'forecast_missed'])[1 + n % 4]::alert_type_enum,
  (ARRAY['low', 'medium', 'high', 'low', 'critical'])[1 + n % 5]::alert_severity_enum,
  'Health score fell below ' || 30 + n % 40,
  CASE WHEN n % 3 <> 0 THEN 'Compared with the four weeks before' END,
  30 + n % 40,
  (n * 7) % 30,
  timestamp '2025-06-01' + n * interval '83 minutes',
  CASE WHEN n % 2 = 0 THEN timestamp '2025-06-01 01:00' + n * interval '83 minutes' END,
  CASE WHEN n % 4 = 0 THEN timestamp '2025-06-02' + n * interval '83 minutes' END,
  CASE WHEN n % 6 <> 0 THEN jsonb_build_object('rule', n % 12, 'notified', n % 2 = 0) END
FROM generate_series(1, pg_temp.sized(whole => 1500, small => 30)) AS n;

DROP FUNCTION pg_temp.sized(integer, integer);
