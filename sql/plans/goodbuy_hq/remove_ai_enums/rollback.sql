-- Rollback of all types of the health analyzer, without its tables.
--
-- Effect: the five types are gone, and the columns that are of them. Stepback keeps the values by key and the types
--     themselves; emergency_backup.enum_usage lists which column was of which. Run by hand, this file destroys them.
-- Locks: ACCESS EXCLUSIVE on the tables with such columns, from the first lock to COMMIT; their values are copied.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

DROP TYPE IF EXISTS alert_severity_enum CASCADE;
DROP TYPE IF EXISTS alert_type_enum CASCADE;
DROP TYPE IF EXISTS sync_status_enum CASCADE;
DROP TYPE IF EXISTS forecast_type_enum CASCADE;
DROP TYPE IF EXISTS health_trajectory CASCADE;
