-- Effect: creates schema emergency_backup with the fence, the marker and the list of preserved objects.
--         A schema left by an earlier script is kept with everything in it.
-- Locks:  none on objects of the application.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py

CREATE SCHEMA IF NOT EXISTS emergency_backup;
COMMENT ON SCHEMA emergency_backup IS 'What Stepback keeps: fence, marker, preserved objects. Objects themselves are in emergency_backup_r* schemas';

CREATE TABLE IF NOT EXISTS emergency_backup.fence (
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    attempt      integer NOT NULL CHECK (attempt > 0),
    raised_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installation, run)
);
COMMENT ON TABLE emergency_backup.fence IS 'Which attempt of a run may write: apply reads its row FOR SHARE first, a newer attempt raises it';
COMMENT ON COLUMN emergency_backup.fence.attempt IS 'Only rises; raising waits for an older attempt''s open transaction';

CREATE TABLE IF NOT EXISTS emergency_backup.marker (
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    attempt      integer NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('rollback', 'recover')),
    migration    text NOT NULL,
    registry_ids jsonb NOT NULL DEFAULT '{}',
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    applied_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    blocked_seconds double precision NOT NULL,
    steps        jsonb NOT NULL,
    finish       jsonb NOT NULL,
    PRIMARY KEY (installation, run)
);
COMMENT ON TABLE emergency_backup.marker IS 'A row here says that the run''s apply committed, since both commit together';
COMMENT ON COLUMN emergency_backup.marker.registry_ids IS 'Rows of migration_rollbacks that the run is about, by migration';
COMMENT ON COLUMN emergency_backup.marker.blocked_seconds IS 'From the first lock to the writing of this row';
COMMENT ON COLUMN emergency_backup.marker.steps IS 'What apply did, step by step; becomes audit events afterwards';
COMMENT ON COLUMN emergency_backup.marker.finish IS 'What is still to be done after COMMIT, in order; each may be repeated';

CREATE TABLE IF NOT EXISTS emergency_backup.preserved_objects (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    migration    text NOT NULL,
    ordinal      integer NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    how          text NOT NULL,
    quarantine   name,
    relation     name,
    catalog      name NOT NULL,
    objid        oid NOT NULL,
    objsubid     integer NOT NULL,
    definition   jsonb NOT NULL,
    rows         bigint,
    bytes        bigint,
    checksum     text,
    preserved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recovered_by bigint,
    recovered_at timestamptz,
    UNIQUE (installation, run, ordinal)
);
ALTER TABLE emergency_backup.preserved_objects
    DROP CONSTRAINT IF EXISTS preserved_objects_how_check,
    ADD CONSTRAINT preserved_objects_how_check CHECK (how IN ('moved', 'copied', 'defined', 'changed', 'created')),
    ADD COLUMN IF NOT EXISTS purged_by bigint,
    ADD COLUMN IF NOT EXISTS purged_at timestamptz;
COMMENT ON TABLE emergency_backup.preserved_objects IS 'Everything that a run removed: what it was, how it is kept, and what brings it back';
COMMENT ON COLUMN emergency_backup.preserved_objects.migration IS 'Whose plan reached it: that of the run, or a member of it';
COMMENT ON COLUMN emergency_backup.preserved_objects.ordinal IS 'Order of removal within the run';
COMMENT ON COLUMN emergency_backup.preserved_objects.how IS 'moved into quarantine; copied into a table there; defined or changed, by the SQL in definition; created by the run';
COMMENT ON COLUMN emergency_backup.preserved_objects.quarantine IS 'Schema that holds it; NULL if the definition is all of it';
COMMENT ON COLUMN emergency_backup.preserved_objects.relation IS 'Name of the table in quarantine that holds the rows, where there are rows';
COMMENT ON COLUMN emergency_backup.preserved_objects.catalog IS 'With objid and objsubid: where the object stood in the catalog';
COMMENT ON COLUMN emergency_backup.preserved_objects.definition IS 'What recovery needs: locks, SQL in order, SQL after COMMIT';
COMMENT ON COLUMN emergency_backup.preserved_objects.rows IS 'Counted after COMMIT for moved tables, at the copy for copied columns';
COMMENT ON COLUMN emergency_backup.preserved_objects.checksum IS 'Order-independent sum over the rows, as worker/fingerprint.py takes it';
COMMENT ON COLUMN emergency_backup.preserved_objects.recovered_by IS 'The recover run that brought it back';
COMMENT ON COLUMN emergency_backup.preserved_objects.purged_by IS 'The purge run that deleted it: no recovery brings it back any more';

CREATE INDEX IF NOT EXISTS preserved_objects_open_idx
    ON emergency_backup.preserved_objects (installation, run) WHERE recovered_by IS NULL;

REVOKE ALL ON SCHEMA emergency_backup FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA emergency_backup FROM PUBLIC;
