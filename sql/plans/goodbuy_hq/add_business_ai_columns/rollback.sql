-- Rollback of add_business_ai_columns: the four columns on businesses, and nothing else of that table.
--
-- Effect: the columns are gone, all other columns and the view active_businesses stay. Stepback keeps the values of
--     every row that holds any; run by hand, this file destroys them. Statistics are fresh afterwards.
-- Locks: ACCESS EXCLUSIVE on businesses, from the first lock to COMMIT. Dropping a column rewrites no row; ANALYZE
--     reads a sample.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

ALTER TABLE businesses
  DROP COLUMN IF EXISTS health_score_enabled,
  DROP COLUMN IF EXISTS last_health_calculation,
  DROP COLUMN IF EXISTS quickbooks_company_id,
  DROP COLUMN IF EXISTS auto_sync_enabled;

ANALYZE businesses;
