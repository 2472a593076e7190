-- Effect: lets runs be purges, and creates emergency_backup.purged_objects: what each of them deleted, so that it is known
--         when the thing itself is gone.
-- Locks:  ACCESS EXCLUSIVE on emergency_backup.marker, while its rows are looked at once; none on objects of the
--         application.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py, test_purge.py

ALTER TABLE emergency_backup.marker
    DROP CONSTRAINT IF EXISTS marker_kind_check,
    ADD CONSTRAINT marker_kind_check CHECK (kind IN ('rollback', 'recover', 'purge'));

CREATE TABLE IF NOT EXISTS emergency_backup.purged_objects (
    installation uuid NOT NULL,
    run          bigint NOT NULL,
    ordinal      integer NOT NULL,
    subject_run  bigint NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    was          text NOT NULL,
    how          text NOT NULL,
    rows         bigint,
    bytes        bigint,
    checksum     text,
    preserved_at timestamptz,
    purged_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installation, run, ordinal)
);
COMMENT ON TABLE emergency_backup.purged_objects IS 'Tombstones: what a purge deleted from quarantine; the ledger and its audit log have the same';
COMMENT ON COLUMN emergency_backup.purged_objects.run IS 'The purge run that deleted it';
COMMENT ON COLUMN emergency_backup.purged_objects.ordinal IS 'Order of deletion within the run';
COMMENT ON COLUMN emergency_backup.purged_objects.subject_run IS 'The run that had preserved it';
COMMENT ON COLUMN emergency_backup.purged_objects.name IS 'Where it was: in quarantine, qualified and quoted';
COMMENT ON COLUMN emergency_backup.purged_objects.was IS 'What it was, or was a copy of, before the run that preserved it';
COMMENT ON COLUMN emergency_backup.purged_objects.rows IS 'As counted when it was preserved, or else before it was deleted; NULL for types';
COMMENT ON COLUMN emergency_backup.purged_objects.bytes IS 'Size on disk right before it was deleted';
COMMENT ON COLUMN emergency_backup.purged_objects.checksum IS 'Order-independent sum over the rows, as worker/fingerprint.py takes it';

REVOKE ALL ON emergency_backup.purged_objects FROM PUBLIC;
