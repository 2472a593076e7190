-- Finish of complete_ai_schema: statistics and indexes of the tables that stay, after COMMIT.
--
-- Effect: fresh statistics; the indexes of businesses are built anew. Failing here never undoes what is committed.
-- Locks: SHARE UPDATE EXCLUSIVE on one table at a time: readers and writers go on.
-- Transactional: no, and it cannot be: each statement is done by itself, and may be repeated.
-- Verified by: each index of businesses is valid afterwards, or the step says which is not.

ANALYZE businesses;
ANALYZE users;
ANALYZE evaluations;
REINDEX TABLE CONCURRENTLY businesses;
