-- Migration: what the analyzer expects of a business, one row per forecast.
--
-- Effect: creates the type forecast_type_enum and the table forecast_results with two indexes. Fails if they exist.
-- Locks: SHARE ROW EXCLUSIVE on businesses, for the foreign key, until the transaction ends: writes to businesses wait
--     that long, reads do not. The new table is empty, so milliseconds.
-- Transactional: yes.
-- Verified by: verify.sql of this folder no longer holds; tests/integration/test_sample.py.

CREATE TYPE forecast_type_enum AS ENUM ('revenue', 'profit', 'cash_flow', 'valuation');

CREATE TABLE forecast_results (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  business_id UUID REFERENCES businesses(id) ON DELETE CASCADE,
  forecast_type forecast_type_enum,
  forecast_period INTEGER,
  predicted_value DECIMAL(15,2),
  confidence_interval_lower DECIMAL(15,2),
  confidence_interval_upper DECIMAL(15,2),
  confidence_score INTEGER CHECK (confidence_score >= 0 AND confidence_score <= 100),
  model_used VARCHAR(50),
  forecast_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  actual_value DECIMAL(15,2),
  accuracy_score DECIMAL(5,2),
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_forecast_results_business_type ON forecast_results (business_id, forecast_type);
CREATE INDEX idx_forecast_results_date ON forecast_results (forecast_date);
