-- Effect: a step says what it is for, what it found, and when it ended by the clock of the database that it was done in.
-- Locks:  ACCESS EXCLUSIVE on ledger.steps, while its rows are given the time at which they were written.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_runs.py

ALTER TABLE ledger.steps
    ADD COLUMN section  text,
    ADD COLUMN detail   text,
    ADD COLUMN ended_at timestamptz;
UPDATE ledger.steps SET ended_at = recorded_at;
ALTER TABLE ledger.steps ALTER COLUMN ended_at SET NOT NULL;
COMMENT ON COLUMN ledger.steps.section IS 'What it is for, where the summary of a run gathers steps; NULL where it does not';
COMMENT ON COLUMN ledger.steps.detail IS 'What it says of itself: how many gates held, what is left';
COMMENT ON COLUMN ledger.steps.ended_at IS 'When it ended; for apply, by the clock of the target';
