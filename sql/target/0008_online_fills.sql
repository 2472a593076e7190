-- Effect: creates emergency_backup.online_fills, the list of columns that a recovery fills while others write.
-- Locks:  none on objects of the application.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py, tests/integration/worker/test_filling.py

CREATE TABLE IF NOT EXISTS emergency_backup.online_fills (
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    relation     oid NOT NULL,
    source       text NOT NULL,
    columns      name[] NOT NULL,
    done         bigint NOT NULL DEFAULT 0,
    complete     boolean NOT NULL DEFAULT false,
    begun_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installation, run, relation)
);
COMMENT ON TABLE emergency_backup.online_fills IS 'Tables that got columns for values which come back, before the apply that names them and takes the row away; what a run leaves behind is found by it';
COMMENT ON COLUMN emergency_backup.online_fills.relation IS 'The table in pg_class';
COMMENT ON COLUMN emergency_backup.online_fills.source IS 'Its name when the fill was begun, for messages';
COMMENT ON COLUMN emergency_backup.online_fills.columns IS 'What the columns are called until then';
COMMENT ON COLUMN emergency_backup.online_fills.done IS 'Blocks of the copy in quarantine whose values are in the table';
COMMENT ON COLUMN emergency_backup.online_fills.complete IS 'Whether that was all';

REVOKE ALL ON emergency_backup.online_fills FROM PUBLIC;
