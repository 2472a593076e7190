-- Effect: commands may ask for a validation or a purge, and a recovery may say what is to come back;
--         a run keeps what it found.
-- Locks:  ACCESS EXCLUSIVE on ledger.commands, while its rows are looked at once, and on ledger.runs.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_commands.py, test_runs.py

ALTER TABLE ledger.commands
    DROP CONSTRAINT commands_kind_check,
    DROP CONSTRAINT commands_subject_run_check,
    ALTER COLUMN migration DROP NOT NULL,
    ADD COLUMN report text,
    ADD COLUMN conditions jsonb CONSTRAINT commands_conditions_check CHECK (jsonb_typeof(conditions) = 'object'),
    ADD CONSTRAINT commands_kind_check CHECK (kind IN ('rollback', 'recover', 'validate', 'purge')),
    ADD CONSTRAINT commands_migration_known CHECK (kind = 'validate' OR migration IS NOT NULL),
    ADD CONSTRAINT commands_subject_run_check CHECK ((kind IN ('recover', 'purge')) = (subject_run IS NOT NULL)),
    ADD CONSTRAINT commands_recover_check CHECK (kind = 'recover' OR (conditions IS NULL AND report IS NULL));
COMMENT ON COLUMN ledger.commands.migration IS
    'What to roll back; for a recovery or a purge, that of the run; for a validation, null means all of the target';
COMMENT ON COLUMN ledger.commands.subject_run IS 'The run to recover or to purge; null for what is not about a run';
COMMENT ON COLUMN ledger.commands.conditions IS
    'Which rows come back, by table; null: all, or as the plan''s recover.sql says';
COMMENT ON COLUMN ledger.commands.report IS
    'A query for one row of figures about what came back; null: none';

ALTER TABLE ledger.runs ADD COLUMN result jsonb;
COMMENT ON COLUMN ledger.runs.result IS
    'What it found: checks of a validation, figures of a recovery, what a purge deleted; null: nothing to say';
GRANT UPDATE (result) ON ledger.runs TO stepback_app;
