-- Effect: creates the roles stepback_owner (owns the ledger, nobody logs in as it) and stepback_app (every
--         Stepback process), and schema ledger. What exists already is left as it is.
-- Locks:  none beyond the new catalog rows.
-- Transactional: yes. May be run any number of times, by two processes at once.
-- Verified by: tests/integration/ledger/test_schema.py

DO $$
BEGIN
    -- Roles belong to the cluster: another database's installation may be creating them right now.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'stepback_owner') THEN
        BEGIN
            CREATE ROLE stepback_owner NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'stepback_app') THEN
        BEGIN
            CREATE ROLE stepback_app LOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- Since PostgreSQL 16 whoever creates a role may not yet act as it.
    IF NOT pg_has_role('stepback_owner',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT stepback_owner TO %I', current_user);
    END IF;
    IF to_regnamespace('ledger') IS NULL THEN
        CREATE SCHEMA ledger AUTHORIZATION stepback_owner;
    END IF;
    IF NOT has_database_privilege('stepback_app', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO stepback_app', current_database());
    END IF;
END
$$;
