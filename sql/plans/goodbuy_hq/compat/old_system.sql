-- Queries of the old system. Whatever is rolled back, they must go on working.

-- The list of businesses for sale, with their owner.
SELECT b.id, b.title, b.price, b.status, u.email
  FROM businesses AS b JOIN users AS u ON u.id = b.owner_id
 WHERE b.status = 'ACTIVE'
 ORDER BY b.created_at DESC
 LIMIT 20;

-- How often a business was looked at.
SELECT business_id, count(*) FROM business_views GROUP BY business_id;

-- An inquiry comes in.
INSERT INTO inquiries (business_id, buyer_id, message) VALUES ($1, $2, $3);

-- Price alerts of a user.
SELECT * FROM price_alerts WHERE user_id = $1;
