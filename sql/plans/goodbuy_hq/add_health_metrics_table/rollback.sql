-- Rollback of add_health_metrics_table: the table of scores, its indexes and its type.
--
-- Effect: health_metrics and health_trajectory are gone from the application's schema. Stepback keeps the table with
--     all rows in quarantine; run by hand, this file destroys them.
-- Locks: ACCESS EXCLUSIVE on health_metrics and, because of its foreign key, on businesses, from the first lock to
--     COMMIT. The time does not grow with the rows.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

DROP INDEX IF EXISTS idx_health_metrics_business_date;
DROP INDEX IF EXISTS idx_health_metrics_score;

DROP TABLE IF EXISTS health_metrics CASCADE;
DROP TYPE IF EXISTS health_trajectory CASCADE;
