-- Effect: creates who this installation is and whose signatures it knows.
-- Locks:  none on existing objects.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_schema.py, test_keys.py

COMMENT ON SCHEMA ledger IS 'What Stepback writes down: commands, runs, steps, audit. Never inside a target';
GRANT USAGE ON SCHEMA ledger TO stepback_app;
COMMENT ON TABLE ledger.alembic_version IS 'Which revision the schema is at: one row, kept by Alembic';
COMMENT ON COLUMN ledger.alembic_version.version_num IS 'Number of the last file of sql/ledger that was run';

CREATE DOMAIN ledger.sha256 AS text
    CONSTRAINT sha256_check CHECK (VALUE ~ '^[0-9a-f]{64}$');
COMMENT ON DOMAIN ledger.sha256 IS 'A SHA-256 in lower-case hexadecimal';

CREATE TABLE ledger.installation (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.installation IS 'Which installation this ledger belongs to: one row';
COMMENT ON COLUMN ledger.installation.singleton IS 'Always true, so that there is one row';
COMMENT ON COLUMN ledger.installation.id IS 'Stands in the fence and the marker of every target';
COMMENT ON COLUMN ledger.installation.created_at IS 'When the ledger was installed';
INSERT INTO ledger.installation DEFAULT VALUES;
GRANT SELECT ON ledger.installation TO stepback_app;

CREATE TABLE ledger.signing_keys (
    key_id     text PRIMARY KEY CHECK (key_id <> ''),
    issuer     text NOT NULL CHECK (issuer <> ''),
    public_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
COMMENT ON TABLE ledger.signing_keys IS 'Whose commands are accepted: public keys only';
COMMENT ON COLUMN ledger.signing_keys.key_id IS 'The kid of a signed command';
COMMENT ON COLUMN ledger.signing_keys.issuer IS 'Who signs with it; requested_by of a command';
COMMENT ON COLUMN ledger.signing_keys.public_key IS 'Ed25519 public key, as the producers encode it';
COMMENT ON COLUMN ledger.signing_keys.created_at IS 'When it was registered';
COMMENT ON COLUMN ledger.signing_keys.revoked_at IS 'From then on nothing signed with it is accepted; null: valid';
GRANT SELECT, INSERT ON ledger.signing_keys TO stepback_app;
GRANT UPDATE (revoked_at) ON ledger.signing_keys TO stepback_app;
