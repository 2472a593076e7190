-- Migration: what the analyzer has to know about a business, kept on the business itself.
--
-- Effect: adds four columns to businesses. Fails if one of them exists.
-- Locks: ACCESS EXCLUSIVE on businesses until the transaction ends. Constant defaults rewrite no row, so milliseconds.
-- Transactional: yes.
-- Verified by: verify.sql of this folder no longer holds; tests/integration/test_sample.py.

ALTER TABLE businesses
  ADD COLUMN health_score_enabled BOOLEAN DEFAULT false,
  ADD COLUMN last_health_calculation TIMESTAMP,
  ADD COLUMN quickbooks_company_id VARCHAR(100),
  ADD COLUMN auto_sync_enabled BOOLEAN DEFAULT false;
