-- Rollback of add_quickbooks_connections: both QuickBooks tables, their indexes and their type.
--
-- Effect: quickbooks_sync_logs, quickbooks_connections and sync_status_enum are gone from the application's schema.
--     Stepback keeps both tables with all rows, encrypted tokens included, in quarantine; run by hand, this file
--     destroys them.
-- Locks: ACCESS EXCLUSIVE on both tables and, because of the foreign key, on businesses, from the first lock to COMMIT.
--     The time does not grow with the rows.
-- Transactional: yes; Stepback supplies the transaction.
-- Verified by: verify.sql of this folder, before COMMIT.

-- The log first: it refers to the connections.
DROP TABLE IF EXISTS quickbooks_sync_logs CASCADE;

DROP INDEX IF EXISTS idx_quickbooks_connections_company;
DROP INDEX IF EXISTS idx_quickbooks_connections_business;

DROP TABLE IF EXISTS quickbooks_connections CASCADE;
DROP TYPE IF EXISTS sync_status_enum CASCADE;
