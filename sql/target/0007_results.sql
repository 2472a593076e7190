-- Effect: the marker says what came of the run beside its steps; what a validation after it or a recovery found.
-- Locks:  ACCESS EXCLUSIVE on emergency_backup.marker, for milliseconds.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py, test_left_out.py

ALTER TABLE emergency_backup.marker ADD COLUMN IF NOT EXISTS result jsonb;
COMMENT ON COLUMN emergency_backup.marker.result IS 'What came of it, for the run in the ledger: figures, what was left out; NULL: nothing to say';
