-- Migration: links to QuickBooks companies, and a log of every synchronisation.
--
-- Effect: creates the type sync_status_enum and the tables quickbooks_connections and quickbooks_sync_logs with their
--     indexes; both tables use the type. Fails if they exist.
-- Locks: SHARE ROW EXCLUSIVE on businesses, for the foreign key, until the transaction ends: writes to businesses wait
--     that long, reads do not. The new tables are empty, so milliseconds.
-- Transactional: yes.
-- Verified by: verify.sql of this folder no longer holds; tests/integration/test_sample.py.

CREATE TYPE sync_status_enum AS ENUM ('pending', 'syncing', 'completed', 'failed');

CREATE TABLE quickbooks_connections (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  business_id UUID REFERENCES businesses(id) ON DELETE CASCADE,
  company_id VARCHAR(100) NOT NULL,
  access_token_encrypted TEXT,
  refresh_token_encrypted TEXT,
  token_expires_at TIMESTAMP,
  last_sync_at TIMESTAMP,
  sync_status sync_status_enum DEFAULT 'pending',
  sync_errors JSONB,
  webhook_subscriptions JSONB,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_quickbooks_connections_company ON quickbooks_connections (company_id);
CREATE INDEX idx_quickbooks_connections_business ON quickbooks_connections (business_id);

CREATE TABLE quickbooks_sync_logs (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  connection_id UUID NOT NULL REFERENCES quickbooks_connections(id) ON DELETE CASCADE,
  status sync_status_enum NOT NULL DEFAULT 'pending',
  records_synced INTEGER NOT NULL DEFAULT 0 CHECK (records_synced >= 0),
  started_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  finished_at TIMESTAMP,
  duration INTERVAL GENERATED ALWAYS AS (finished_at - started_at) STORED,
  error_message TEXT
);

CREATE INDEX idx_quickbooks_sync_logs_connection ON quickbooks_sync_logs (connection_id, started_at DESC);
