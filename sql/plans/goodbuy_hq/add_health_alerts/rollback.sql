-- Rollback of add_health_alerts: the analyzer's warnings, their indexes and both types. Never price_alerts.
--
-- Effect: health_alerts, alert_type_enum and alert_severity_enum are gone from the application's schema. Stepback keeps
--     the table with all rows in quarantine; run by hand, this file destroys them.
-- Locks: ACCESS EXCLUSIVE on health_alerts and, because of its foreign key, on businesses, from the first lock to
--     COMMIT. The time does not grow with the rows.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

DROP INDEX IF EXISTS idx_health_alerts_business_severity;
DROP INDEX IF EXISTS idx_health_alerts_triggered_at;

DROP TABLE IF EXISTS health_alerts CASCADE;
DROP TYPE IF EXISTS alert_type_enum CASCADE;
DROP TYPE IF EXISTS alert_severity_enum CASCADE;
