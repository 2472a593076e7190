-- Gate of add_business_ai_columns: each statement must be true for the rollback to commit.
--
-- Effect: none, it only reads the catalog. Names carry their schema, so that no search path can make a check pass.
-- Locks: ACCESS SHARE on system catalogs, for milliseconds.
-- Transactional: yes; it runs inside the rollback's own transaction and sees its changes.
-- Verified by: tests/integration/test_sample.py runs it before, between and after.

SELECT NOT EXISTS (
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass('public.businesses') AND NOT attisdropped AND attname = 'health_score_enabled'
);
SELECT NOT EXISTS (
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass('public.businesses') AND NOT attisdropped AND attname = 'last_health_calculation'
);
SELECT NOT EXISTS (
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass('public.businesses') AND NOT attisdropped AND attname = 'quickbooks_company_id'
);
SELECT NOT EXISTS (
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass('public.businesses') AND NOT attisdropped AND attname = 'auto_sync_enabled'
);
-- The columns that were there before are still there: without this, a vanished table would pass all of the above.
SELECT count(*) = 5 FROM pg_attribute
WHERE attrelid = to_regclass('public.businesses') AND NOT attisdropped
  AND attname IN ('id', 'owner_id', 'title', 'status', 'price');
