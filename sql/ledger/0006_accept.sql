-- Effect: a command may accept one impact, known by its hash.
-- Locks:  ACCESS EXCLUSIVE on ledger.commands, while its rows are looked at once.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/worker/test_accept.py

ALTER TABLE ledger.commands
    ADD COLUMN accept_sha256 ledger.sha256,
    ADD CONSTRAINT commands_accept_check CHECK (kind = 'rollback' OR accept_sha256 IS NULL);
COMMENT ON COLUMN ledger.commands.accept_sha256 IS
    'Hash of the one impact that may go along though the plan does not name all of it; null: nothing is accepted';
