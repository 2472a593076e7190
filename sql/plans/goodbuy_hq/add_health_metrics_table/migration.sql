-- Migration: the scores that the analyzer computes for a business, one row per calculation.
--
-- Effect: creates the type health_trajectory and the table health_metrics with two indexes. Fails if they exist.
-- Locks: SHARE ROW EXCLUSIVE on businesses, for the foreign key, until the transaction ends: writes to businesses wait
--     that long, reads do not. The new table is empty, so milliseconds.
-- Transactional: yes.
-- Verified by: verify.sql of this folder no longer holds; tests/integration/test_sample.py.

CREATE TYPE health_trajectory AS ENUM ('improving', 'stable', 'declining', 'critical');

CREATE TABLE health_metrics (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  business_id UUID REFERENCES businesses(id) ON DELETE CASCADE,
  overall_score INTEGER CHECK (overall_score >= 0 AND overall_score <= 100),
  growth_score INTEGER CHECK (growth_score >= 0 AND growth_score <= 100),
  operational_score INTEGER CHECK (operational_score >= 0 AND operational_score <= 100),
  financial_score INTEGER CHECK (financial_score >= 0 AND financial_score <= 100),
  sale_readiness_score INTEGER CHECK (sale_readiness_score >= 0 AND sale_readiness_score <= 100),
  confidence_level INTEGER CHECK (confidence_level >= 0 AND confidence_level <= 100),
  trajectory health_trajectory DEFAULT 'stable',
  calculated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  data_sources JSONB,
  calculation_metadata JSONB,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_health_metrics_business_date ON health_metrics (business_id, calculated_at DESC);
CREATE INDEX idx_health_metrics_score ON health_metrics (overall_score);
