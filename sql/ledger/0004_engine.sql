-- Effect: a run may also have changed or created objects, beside those that it moved, copied or defined.
-- Locks:  ACCESS EXCLUSIVE on ledger.preserved, while its rows are looked at once.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/worker/test_round_trip.py

ALTER TABLE ledger.preserved
    DROP CONSTRAINT preserved_how_check,
    ADD CONSTRAINT preserved_how_check CHECK (how IN ('moved', 'copied', 'defined', 'changed', 'created'));
