-- Rows of the old system: the same ones at every load, from arithmetic and md5 alone.
--
-- Effect: fills the six tables of 0001_old_system.sql. With the setting sample.scale = 'small' there are
--     few rows, for quick tests; otherwise a few thousand in each table.
-- Locks: ROW EXCLUSIVE on the tables it fills, until the transaction ends; about half a second at full scale.
-- Transactional: yes, and meant to run inside the caller's transaction.
-- Verified by: tests/integration/test_sample.py (counts at both scales, two loads give the same rows).

-- In pg_temp, so that it is never part of the sample; 0003_ai_rows.sql drops it after its last use.
CREATE OR REPLACE FUNCTION pg_temp.sized(whole integer, small integer) RETURNS integer
LANGUAGE sql STABLE AS $$
  SELECT CASE current_setting('sample.scale', true) WHEN 'small' THEN small ELSE whole END
$$;

INSERT INTO users (id, email, full_name, status, created_at)
SELECT
  md5('user:' || n)::uuid,
  'user' || lpad(n::text, 4, '0') || '@example.com',
  (ARRAY['Ada', 'Noor', 'Jürgen', 'Mei', 'Siobhán', 'Tomás', 'Ines'])[1 + n % 7] || ' '
    || (ARRAY['Okafor', 'O''Brien', 'Larsen', 'Nguyễn', 'Silva'])[1 + n % 5],
  CASE WHEN n % 40 = 0 THEN 'SUSPENDED' WHEN n % 15 = 0 THEN 'INVITED' ELSE 'ACTIVE' END,
  timestamp '2023-01-01 08:00' + n * interval '5 hours 13 minutes'
FROM generate_series(1, pg_temp.sized(whole => 1000, small => 16)) AS n;

INSERT INTO businesses (id, owner_id, title, status, price, industry, annual_revenue, created_at, updated_at)
SELECT
  md5('business:' || n)::uuid,
  md5('user:' || 1 + (n * 31) % (SELECT count(*) FROM users))::uuid,
  (ARRAY['Harbor', 'Sunrise', 'Café Größe', 'O''Malley''s', 'Pioneer', 'Northside', '100 %'])[1 + n % 7] || ' '
    || (ARRAY['Bakery', 'Auto Care', 'Dental', 'Software', 'Landscaping', 'Logistics'])[1 + n % 6] || ' No. ' || n,
  (ARRAY['ACTIVE', 'ACTIVE', 'PENDING', 'ACTIVE', 'SOLD', 'ACTIVE', 'ACTIVE', 'ARCHIVED', 'ACTIVE', 'ACTIVE'])
    [1 + n % 10]::business_status,
  CASE WHEN n % 23 <> 0 THEN 45000 + (n * 7919) % 2000000 + 0.5 END,
  (ARRAY['Food', 'Automotive', 'Healthcare', 'Technology', 'Services', 'Transport'])[1 + n % 6],
  120000 + (n * 6151) % 5000000,
  timestamp '2024-01-01 09:00' + n * interval '4 hours 7 minutes',
  timestamp '2024-01-02 09:00' + n * interval '5 hours 3 minutes'
FROM generate_series(1, pg_temp.sized(whole => 2400, small => 40)) AS n;

INSERT INTO evaluations (id, business_id, evaluator_id, method, estimated_value, paid, created_at)
SELECT
  md5('evaluation:' || n)::uuid,
  md5('business:' || 1 + (n * 7919) % (SELECT count(*) FROM businesses))::uuid,
  CASE WHEN n % 11 <> 0 THEN md5('user:' || 1 + (n * 13) % (SELECT count(*) FROM users))::uuid END,
  (ARRAY['revenue_multiple', 'asset_based', 'discounted_cash_flow'])[1 + n % 3],
  40000 + (n * 4421) % 1900000 + 0.25,
  n % 4 = 0,
  timestamp '2024-06-01' + n * interval '71 minutes'
FROM generate_series(1, pg_temp.sized(whole => 6000, small => 100)) AS n;

INSERT INTO business_views (business_id, viewer_id, viewed_at)
SELECT
  md5('business:' || 1 + (n * 6151) % (SELECT count(*) FROM businesses))::uuid,
  CASE WHEN n % 3 <> 0 THEN md5('user:' || 1 + (n * 17) % (SELECT count(*) FROM users))::uuid END,
  timestamp '2025-01-01' + n * interval '23 minutes'
FROM generate_series(1, pg_temp.sized(whole => 12000, small => 200)) AS n
ORDER BY n;

INSERT INTO inquiries (id, business_id, buyer_id, message, answered_at, created_at)
SELECT
  md5('inquiry:' || n)::uuid,
  md5('business:' || 1 + (n * 3571) % (SELECT count(*) FROM businesses))::uuid,
  md5('user:' || 1 + (n * 29) % (SELECT count(*) FROM users))::uuid,
  CASE WHEN n % 5 = 0 THEN E'Is the lease included?\nAnd the "equipment"?' ELSE 'Please call me about offer ' || n END,
  CASE WHEN n % 3 <> 0 THEN timestamp '2025-02-02' + n * interval '59 minutes' END,
  timestamp '2025-02-01' + n * interval '59 minutes'
FROM generate_series(1, pg_temp.sized(whole => 5000, small => 80)) AS n;

-- 600 users with one alert each at full scale: the pair of user and business is unique.
INSERT INTO price_alerts (user_id, business_id, channel, below_price, notified_at, created_at)
SELECT
  md5('user:' || n)::uuid,
  md5('business:' || 1 + (n * 1237) % (SELECT count(*) FROM businesses))::uuid,
  (ARRAY['email', 'sms', 'push'])[1 + n % 3]::alert_channel,
  30000 + (n * 2741) % 900000,
  CASE WHEN n % 6 = 0 THEN timestamp '2025-05-01' + n * interval '3 hours' END,
  timestamp '2025-03-01' + n * interval '2 hours'
FROM generate_series(1, pg_temp.sized(whole => 600, small => 12)) AS n
ORDER BY n;
