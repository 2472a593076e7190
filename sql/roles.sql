-- Effect: creates the groups that the rights in a ledger, and later those of a restore in a target, are given to, and
--         makes stepback_app, the login of installations that do not tell processes apart, a member of all that concern
--         the ledger. Nobody logs in as a group: make a login for each process, and GRANT it its group.
--         What exists already is left as it is. docs/deploying.md shows the logins.
-- Locks:  none beyond the new catalog rows.
-- Transactional: yes. May be run any number of times, by two processes at once: `stepback init` runs it in the ledger's
--         database, right after sql/ledger/roles.sql. In the cluster of a target run it yourself, where a restore is
--         to have a login of its own.
-- Verified by: tests/integration/ledger/test_roles.py

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('stepback_ledger_producer', true,  'Stepback: writes signed commands into the ledger, and refusals into its audit log'),
            ('stepback_ledger_consent',  true,  'Stepback: hands in signed approvals and cancellations'),
            ('stepback_ledger_worker',   true,  'Stepback: claims runs and writes down what comes of them'),
            ('stepback_ledger_monitor',  true,  'Stepback: looks, and sends canaries'),
            ('stepback_ledger_auditor',  true,  'Stepback: reads everything in the ledger and writes nothing'),
            ('stepback_ledger_operator', true,  'Stepback: approves, cancels, acknowledges, and says whose keys count'),
            ('stepback_restorer',        false, 'Stepback: will put restored objects back into a target')
        ) AS groups (name, of_ledger, what)
    LOOP
        -- Roles belong to the cluster: another database's installation may be creating them right now.
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.name);
                EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.what);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        CONTINUE WHEN NOT wanted.of_ledger;
        IF to_regrole('stepback_app') IS NOT NULL AND NOT pg_has_role('stepback_app', wanted.name, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO stepback_app', wanted.name);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END IF;
        IF to_regnamespace('ledger') IS NOT NULL
           AND NOT has_database_privilege(wanted.name, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted.name);
        END IF;
    END LOOP;
END
$$;
