-- Effect: creates the roles stepback_outbox (owns the outbox, nobody logs in as it), stepback_relay (the login of
--         `stepback outbox`) and stepback_requester (GRANT it to whoever may ask for something), and schema stepback in
--         an application's database. What exists already is left as it is.
-- Locks:  none beyond the new catalog rows.
-- Transactional: yes. May be run any number of times, by two processes at once.
-- Verified by: tests/integration/producers/test_outbox_install.py

-- Whoever installs has more rights than those who could have put a function of a known name into their path.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    role record;
BEGIN
    -- Texts are judged by their code points, and travel on as UTF-8.
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database is in %; the outbox needs one that was created WITH ENCODING ''UTF8''',
            current_setting('server_encoding') USING ERRCODE = 'feature_not_supported';
    END IF;
    -- IF NOT EXISTS alone does not keep two installers apart.
    PERFORM pg_advisory_xact_lock(hashtext('stepback outbox'));
    -- Roles belong to the cluster: another database's installation may be creating them right now.
    FOR role IN VALUES ('stepback_outbox', 'NOLOGIN'), ('stepback_relay', 'LOGIN'), ('stepback_requester', 'NOLOGIN') LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role.column1) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', role.column1, role.column2);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- Since PostgreSQL 16 whoever creates a role may not yet act as it.
    IF NOT pg_has_role('stepback_outbox',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT stepback_outbox TO %I', current_user);
    END IF;
    IF to_regnamespace('stepback') IS NULL THEN
        CREATE SCHEMA stepback AUTHORIZATION stepback_outbox;
    -- Somebody else's could hold anything under our names.
    ELSIF NOT EXISTS (SELECT FROM pg_namespace
                       WHERE nspname = 'stepback' AND nspowner = 'stepback_outbox'::regrole) THEN
        RAISE EXCEPTION 'schema stepback is there already and belongs to somebody else; rename it first'
            USING ERRCODE = 'duplicate_schema';
    END IF;
    IF NOT has_database_privilege('stepback_relay', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO stepback_relay', current_database());
    END IF;
END
$$;
