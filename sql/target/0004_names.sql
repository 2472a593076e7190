-- Effect: creates the views emergency_backup.dropped_indexes and enum_usage: what is kept, under the names that readers
--         of the rollback plan look for. A table of such a name, left by an earlier script, is kept and hides the view.
-- Locks:  ACCESS EXCLUSIVE on the views, for milliseconds.
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_composite.py, test_install.py

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('emergency_backup.dropped_indexes') AND relkind <> 'v') THEN
        CREATE OR REPLACE VIEW emergency_backup.dropped_indexes AS
        SELECT definition #>> '{facts,index,0}' AS schemaname,
               definition #>> '{facts,index,1}' AS tablename,
               definition #>> '{facts,index,2}' AS indexname,
               definition #>> '{facts,index,3}' AS indexdef
          FROM emergency_backup.preserved_objects
         WHERE kind = 'index' AND how = 'defined' AND recovered_by IS NULL AND purged_by IS NULL;
        -- Now, so that a second installation finds nothing to change.
        REVOKE ALL ON emergency_backup.dropped_indexes FROM PUBLIC;
        COMMENT ON VIEW emergency_backup.dropped_indexes IS 'Indexes that runs have dropped by themselves, with their definitions';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('emergency_backup.enum_usage') AND relkind <> 'v') THEN
        CREATE OR REPLACE VIEW emergency_backup.enum_usage AS
        SELECT usage ->> 0 AS table_name, usage ->> 1 AS column_name, kept.name AS enum_type
          FROM emergency_backup.preserved_objects AS kept
         CROSS JOIN jsonb_array_elements(coalesce(nullif(kept.definition #> '{facts,usage}', 'null'), '[]')) AS usage
         WHERE kept.kind = 'type' AND kept.how = 'moved' AND kept.recovered_by IS NULL AND kept.purged_by IS NULL;
        REVOKE ALL ON emergency_backup.enum_usage FROM PUBLIC;
        COMMENT ON VIEW emergency_backup.enum_usage IS 'Which columns were of the enum types that runs have moved away';
    END IF;
END
$$;
