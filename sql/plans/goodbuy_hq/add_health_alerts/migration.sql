-- Migration: warnings that the analyzer raises when a score or a forecast crosses a threshold.
--
-- Effect: creates the types alert_type_enum and alert_severity_enum and the table health_alerts with two indexes.
--     Fails if they exist.
-- Locks: SHARE ROW EXCLUSIVE on businesses, for the foreign key, until the transaction ends: writes to businesses wait
--     that long, reads do not. The new table is empty, so milliseconds.
-- Transactional: yes.
-- Verified by: verify.sql of this folder no longer holds; tests/integration/test_sample.py.

CREATE TYPE alert_type_enum AS ENUM ('score_drop', 'cash_flow', 'stale_data', 'forecast_missed');
CREATE TYPE alert_severity_enum AS ENUM ('low', 'medium', 'high', 'critical');

CREATE TABLE health_alerts (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  business_id UUID REFERENCES businesses(id) ON DELETE CASCADE,
  alert_type alert_type_enum,
  severity alert_severity_enum,
  title VARCHAR(200) NOT NULL,
  description TEXT,
  threshold_value DECIMAL(10,2),
  actual_value DECIMAL(10,2),
  triggered_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  acknowledged_at TIMESTAMP,
  resolved_at TIMESTAMP,
  metadata JSONB
);

CREATE INDEX idx_health_alerts_business_severity ON health_alerts (business_id, severity);
CREATE INDEX idx_health_alerts_triggered_at ON health_alerts (triggered_at);
