-- Effect: creates emergency_backup.online_copies, the list of columns that are being copied while others write.
-- Locks:  none on objects of the application.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py, tests/integration/worker/test_columns_online.py

CREATE TABLE IF NOT EXISTS emergency_backup.online_copies (
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    relation     oid NOT NULL,
    source       text NOT NULL,
    quarantine   name NOT NULL,
    copy         name NOT NULL,
    since        xid8,
    keeper       jsonb,
    quiet        bigint NOT NULL DEFAULT 0,
    notes        jsonb,
    begun_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installation, run, relation)
);
COMMENT ON TABLE emergency_backup.online_copies IS 'Tables whose columns a run copies before its apply, which takes the row away; what a run leaves behind is found by it';
COMMENT ON COLUMN emergency_backup.online_copies.relation IS 'The table in pg_class';
COMMENT ON COLUMN emergency_backup.online_copies.source IS 'Its name when the copy was begun, for messages';
COMMENT ON COLUMN emergency_backup.online_copies.quarantine IS 'With copy: the table that the values go to; the triggers'' function and their sequence of marks are beside it';
COMMENT ON COLUMN emergency_backup.online_copies.since IS 'The oldest transaction that was open when the copy was begun: what is older is in it as it was. NULL once rows were copied again by themselves';
COMMENT ON COLUMN emergency_backup.online_copies.keeper IS 'Triggers and their function as they were made; NULL before they were';
COMMENT ON COLUMN emergency_backup.online_copies.quiet IS 'What the sequence of marks said at a moment without writers';
COMMENT ON COLUMN emergency_backup.online_copies.notes IS 'What was noted before the comparison that found no difference; apply must find it so again. NULL: not complete';

REVOKE ALL ON emergency_backup.online_copies FROM PUBLIC;
