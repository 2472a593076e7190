-- Effect: a recovery may say which row wins where a preserved one meets one that was written since.
-- Locks:  ACCESS EXCLUSIVE on ledger.commands, while its rows are looked at once.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_commands.py

ALTER TABLE ledger.commands
    DROP CONSTRAINT commands_recover_check,
    ADD COLUMN policy text CONSTRAINT commands_policy_check CHECK (policy IN ('skip', 'overwrite', 'aside')),
    ADD CONSTRAINT commands_recover_check
        CHECK (kind = 'recover' OR (policy IS NULL AND conditions IS NULL AND report IS NULL));
COMMENT ON COLUMN ledger.commands.policy IS
    'Which row wins where a preserved one meets a newer one; null: the newer one stays';
