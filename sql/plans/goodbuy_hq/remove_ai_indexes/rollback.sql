-- Rollback of the indexes of the health analyzer, without its tables. Primary keys stay: they are no indexes of ours.
--
-- Effect: the nine indexes are gone. Stepback keeps their definitions: emergency_backup.dropped_indexes lists them.
-- Locks: ACCESS EXCLUSIVE on their tables, from the first lock to COMMIT; nothing is read or copied.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

DROP INDEX IF EXISTS idx_health_metrics_business_date;
DROP INDEX IF EXISTS idx_health_metrics_score;
DROP INDEX IF EXISTS idx_forecast_results_business_type;
DROP INDEX IF EXISTS idx_forecast_results_date;
DROP INDEX IF EXISTS idx_quickbooks_connections_company;
DROP INDEX IF EXISTS idx_quickbooks_connections_business;
DROP INDEX IF EXISTS idx_quickbooks_sync_logs_connection;
DROP INDEX IF EXISTS idx_health_alerts_business_severity;
DROP INDEX IF EXISTS idx_health_alerts_triggered_at;
