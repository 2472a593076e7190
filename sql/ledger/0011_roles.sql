-- Effect: gives each group of sql/roles.sql exactly what its process needs, and keeps what no grant can tell apart:
--         who may state what in the audit log, who may write which commands, that consent comes from
--         ledger.approve, and that a revoked key stays revoked.
--         stepback_app keeps its rights, and is a member of every group.
-- Locks:  ACCESS EXCLUSIVE on ledger.commands, ledger.runs and ledger.signing_keys, for a moment: triggers are created
--         and set to fire always.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_roles.py, tests/acceptance/test_roles.py

GRANT USAGE ON SCHEMA ledger TO
    stepback_ledger_producer, stepback_ledger_consent, stepback_ledger_worker, stepback_ledger_monitor,
    stepback_ledger_auditor, stepback_ledger_operator;
GRANT SELECT ON ledger.installation TO
    stepback_ledger_producer, stepback_ledger_consent, stepback_ledger_worker, stepback_ledger_monitor,
    stepback_ledger_operator;

-- Whoever shows a run to people reads its story.
GRANT SELECT ON ledger.commands, ledger.runs, ledger.steps, ledger.preserved, ledger.audit_events TO
    stepback_ledger_producer, stepback_ledger_consent, stepback_ledger_worker, stepback_ledger_monitor,
    stepback_ledger_operator;
GRANT SELECT ON ledger.signing_keys, ledger.approvals, ledger.cancellations TO
    stepback_ledger_producer, stepback_ledger_consent, stepback_ledger_worker, stepback_ledger_monitor,
    stepback_ledger_operator;

-- Commands, approvals and cancellations are written by the functions alone; a signature makes them count.
GRANT EXECUTE ON FUNCTION ledger.record_commands(jsonb) TO stepback_ledger_producer, stepback_ledger_monitor;
GRANT EXECUTE ON FUNCTION
    ledger.approve(bigint, text, text, text, timestamptz, text), ledger.cancel(bigint, text, text)
    TO stepback_ledger_consent, stepback_ledger_operator;

GRANT SELECT, INSERT ON ledger.steps, ledger.applies, ledger.preserved TO stepback_ledger_worker;
GRANT UPDATE (state, phase, attempt, worker, lease_until, rung_at, started_at, finished_at, blocked_seconds,
              plan_sha256, impact_sha256, error_code, error_message, result, progressed_at)
    ON ledger.runs TO stepback_ledger_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.workers TO stepback_ledger_worker;

GRANT SELECT ON ledger.audit_head, ledger.workers, ledger.tally, ledger.incidents, ledger.acknowledgements
    TO stepback_ledger_monitor;

GRANT INSERT ON ledger.signing_keys TO stepback_ledger_operator;
GRANT UPDATE (revoked_at) ON ledger.signing_keys TO stepback_ledger_operator;
GRANT SELECT ON ledger.audit_head, ledger.incidents, ledger.acknowledgements TO stepback_ledger_operator;
GRANT UPDATE (resolved_at, resolved_by) ON ledger.incidents TO stepback_ledger_operator;
GRANT INSERT ON ledger.acknowledgements TO stepback_ledger_operator;

-- Everything that is there, and whatever later revisions add.
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO stepback_ledger_auditor;
ALTER DEFAULT PRIVILEGES IN SCHEMA ledger GRANT SELECT ON TABLES TO stepback_ledger_auditor;
GRANT EXECUTE ON FUNCTION ledger.canonical_json(jsonb) TO stepback_ledger_auditor;

-- Inside a function of the owner's, current_user is the owner: who is behind it is told by the login.
CREATE FUNCTION ledger.may_state(login name, type text, actor text, attempt integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN CASE
        WHEN pg_has_role(login, 'stepback_app', 'MEMBER') THEN true
        -- What came of an attempt; but never that somebody else has asked, approved, cancelled or taken note.
        WHEN attempt IS NOT NULL THEN
            pg_has_role(login, 'stepback_ledger_worker', 'MEMBER') AND starts_with(actor, 'worker:')
            AND type NOT IN ('command_submitted', 'run_approved', 'run_acknowledged', 'cancellation_requested')
        WHEN starts_with(actor, 'worker:') THEN false
        WHEN type IN ('command_refused', 'doorbell_failed') THEN
            pg_has_role(login, 'stepback_ledger_producer', 'MEMBER')
            OR pg_has_role(login, 'stepback_ledger_consent', 'MEMBER')
            OR pg_has_role(login, 'stepback_ledger_monitor', 'MEMBER')
            OR pg_has_role(login, 'stepback_ledger_operator', 'MEMBER')
        WHEN type = 'audit_tried' THEN pg_has_role(login, 'stepback_ledger_monitor', 'MEMBER')
        WHEN type = 'plan_registered' THEN
            pg_has_role(login, 'stepback_ledger_producer', 'MEMBER')
            OR pg_has_role(login, 'stepback_ledger_operator', 'MEMBER')
        WHEN type IN ('key_registered', 'key_revoked', 'run_acknowledged') THEN
            pg_has_role(login, 'stepback_ledger_operator', 'MEMBER')
        ELSE false
    END;
COMMENT ON FUNCTION ledger.may_state(name, text, text, integer) IS
    'Whether a login may have an event of this type, by this actor, appended to the audit log';
REVOKE ALL ON FUNCTION ledger.may_state(name, text, text, integer) FROM PUBLIC;

CREATE FUNCTION ledger.append_own_event(
    new_type text, new_actor text, new_outcome text, new_run bigint, new_attempt integer, new_target text,
    new_phase text, new_step text, new_detail jsonb
) RETURNS ledger.audit_events
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF ledger.may_state(session_user, new_type, new_actor, new_attempt) THEN
        RETURN ledger.append_audit_event(
            new_type, new_actor, new_outcome, new_run, new_attempt, new_target, new_phase, new_step, new_detail);
    END IF;
    RAISE EXCEPTION 'this login may not append such an event to the audit log'
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'sql/ledger/0011_roles.sql says which group may state what.';
END
$$;
COMMENT ON FUNCTION ledger.append_own_event(text, text, text, bigint, integer, text, text, text, jsonb) IS
    'append_audit_event for logins that may state some things and not others';
REVOKE ALL ON FUNCTION ledger.append_own_event(text, text, text, bigint, integer, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.append_own_event(text, text, text, bigint, integer, text, text, text, jsonb) TO
    stepback_app, stepback_ledger_producer, stepback_ledger_consent, stepback_ledger_worker, stepback_ledger_monitor,
    stepback_ledger_operator;

CREATE FUNCTION ledger.refuse_command() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'this login may write no command but a canary' USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION ledger.refuse_command() IS 'A monitor asks for nothing that touches a target';
REVOKE ALL ON FUNCTION ledger.refuse_command() FROM PUBLIC;
CREATE TRIGGER commands_by_producers BEFORE INSERT ON ledger.commands
    FOR EACH ROW
    WHEN (NEW.kind <> 'canary' AND NOT pg_has_role(session_user, 'stepback_ledger_producer', 'MEMBER'))
    EXECUTE FUNCTION ledger.refuse_command();
ALTER TABLE ledger.commands ENABLE ALWAYS TRIGGER commands_by_producers;

-- A worker may move a run from state to state, but not give it the consent that it waits for.
CREATE FUNCTION ledger.refuse_consent() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What has waited for too long is put back into the queue to be refused there.
    IF EXISTS (SELECT FROM ledger.commands WHERE command_id = OLD.command_id AND not_after <= clock_timestamp()) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'run %: only ledger.approve lets it go on', OLD.run USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION ledger.refuse_consent() IS 'Consent is given by ledger.approve, which knows who has asked';
REVOKE ALL ON FUNCTION ledger.refuse_consent() FROM PUBLIC;
CREATE TRIGGER runs_wait_for_consent BEFORE UPDATE OF state ON ledger.runs
    FOR EACH ROW
    WHEN (OLD.state = 'awaiting_approval' AND NEW.state = 'queued'
          AND NOT pg_has_role(current_user, 'stepback_owner', 'MEMBER'))
    EXECUTE FUNCTION ledger.refuse_consent();
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_wait_for_consent;

CREATE FUNCTION ledger.keep_revoked() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a key that was revoked stays revoked' USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION ledger.keep_revoked() IS 'What a revoked key has signed since must never come to count';
REVOKE ALL ON FUNCTION ledger.keep_revoked() FROM PUBLIC;
CREATE TRIGGER signing_keys_stay_revoked BEFORE UPDATE ON ledger.signing_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION ledger.keep_revoked();
ALTER TABLE ledger.signing_keys ENABLE ALWAYS TRIGGER signing_keys_stay_revoked;
