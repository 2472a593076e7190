-- Rollback of add_forecast_results_table: the table of forecasts, its indexes and its type.
--
-- Effect: forecast_results and forecast_type_enum are gone from the application's schema. Stepback keeps the table with
--     all rows in quarantine; run by hand, this file destroys them.
-- Locks: ACCESS EXCLUSIVE on forecast_results and, because of its foreign key, on businesses, from the first lock to
--     COMMIT. The time does not grow with the rows.
-- Transactional: yes. The BEGIN and COMMIT here are for whoever runs it by hand: Stepback takes such an outer pair off,
--     so that gates, proof and marker commit together with the statements.
-- Verified by: verify.sql of this folder, before COMMIT.

BEGIN;

DROP INDEX IF EXISTS idx_forecast_results_business_type;
DROP INDEX IF EXISTS idx_forecast_results_date;

DROP TABLE IF EXISTS forecast_results CASCADE;
DROP TYPE IF EXISTS forecast_type_enum CASCADE;

COMMIT;
