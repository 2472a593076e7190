-- Effect: creates the audit log: an append-only chain of hashes, and the one function that appends to it.
-- Locks:  none on existing objects. Afterwards every append holds the row of audit_head until its COMMIT.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_audit_append.py, test_audit_verify.py

CREATE TABLE ledger.audit_events (
    seq         bigint PRIMARY KEY CHECK (seq > 0),
    event_id    uuid NOT NULL UNIQUE,
    type        text NOT NULL CHECK (type ~ '^[a-z][a-z0-9_]*$'),
    occurred_at text NOT NULL,
    actor       text NOT NULL,
    run         bigint,
    attempt     integer,
    target      text,
    phase       text,
    step        text,
    outcome     text NOT NULL,
    detail      jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    prev_hash   ledger.sha256 NOT NULL UNIQUE,
    hash        ledger.sha256 NOT NULL UNIQUE
);
COMMENT ON TABLE ledger.audit_events IS 'Facts in the past tense, each bound to the one before it; only append_audit_event writes here';
COMMENT ON COLUMN ledger.audit_events.seq IS 'From 1, without a gap';
COMMENT ON COLUMN ledger.audit_events.event_id IS 'Also in the log line and in the CloudEvent';
COMMENT ON COLUMN ledger.audit_events.type IS 'What happened; also the log event and the metric label';
COMMENT ON COLUMN ledger.audit_events.occurred_at IS 'RFC 3339 UTC with microseconds; text, so that it stands exactly as hashed';
COMMENT ON COLUMN ledger.audit_events.actor IS 'Who: an issuer of commands, or worker:<name>';
COMMENT ON COLUMN ledger.audit_events.run IS 'About which run; no foreign key: the log outlives what it tells of';
COMMENT ON COLUMN ledger.audit_events.attempt IS 'Of which attempt';
COMMENT ON COLUMN ledger.audit_events.target IS 'In which target';
COMMENT ON COLUMN ledger.audit_events.phase IS 'In which phase';
COMMENT ON COLUMN ledger.audit_events.step IS 'At which step';
COMMENT ON COLUMN ledger.audit_events.outcome IS 'How it ended';
COMMENT ON COLUMN ledger.audit_events.detail IS 'More, by type; whole numbers only';
COMMENT ON COLUMN ledger.audit_events.prev_hash IS 'Hash of the event before; 64 zeros for the first. Unique: the chain cannot fork';
COMMENT ON COLUMN ledger.audit_events.hash IS 'SHA-256 of the canonical JSON of all other columns';
CREATE INDEX audit_events_run ON ledger.audit_events (run, seq) WHERE run IS NOT NULL;
COMMENT ON INDEX ledger.audit_events_run IS 'The story of one run';

CREATE TABLE ledger.audit_head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seq       bigint NOT NULL,
    hash      ledger.sha256 NOT NULL
);
COMMENT ON TABLE ledger.audit_head IS 'The end of the chain: one row, locked by every append';
COMMENT ON COLUMN ledger.audit_head.singleton IS 'Always true, so that there is one row';
COMMENT ON COLUMN ledger.audit_head.seq IS 'Number of the last event; 0 before the first';
COMMENT ON COLUMN ledger.audit_head.hash IS 'Hash of the last event; 64 zeros before the first';
INSERT INTO ledger.audit_head (seq, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION ledger.canonical_json(value jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            RETURN '{' || coalesce((
                SELECT string_agg(to_json(key)::text || ':' || ledger.canonical_json(member), ',' ORDER BY key COLLATE "C")
                FROM jsonb_each(value) AS members (key, member)), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((
                SELECT string_agg(ledger.canonical_json(item), ',' ORDER BY place)
                FROM jsonb_array_elements(value) WITH ORDINALITY AS items (item, place)), '') || ']';
        WHEN 'number' THEN
            -- How a fraction is printed differs between languages: a hash must not depend on it.
            IF value::text !~ '^(0|-?[1-9][0-9]*)$' THEN
                RAISE EXCEPTION 'canonical JSON holds whole numbers only' USING ERRCODE = 'invalid_parameter_value';
            END IF;
            RETURN value::text;
        ELSE
            RETURN value::text;
    END CASE;
END
$$;
COMMENT ON FUNCTION ledger.canonical_json(jsonb) IS
    'Keys by code point, no spaces, whole numbers only: the same text as ledger.canonical.canonical in Python';
REVOKE ALL ON FUNCTION ledger.canonical_json(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.canonical_json(jsonb) TO stepback_app;

CREATE FUNCTION ledger.append_audit_event(
    new_type text, new_actor text, new_outcome text, new_run bigint, new_attempt integer, new_target text,
    new_phase text, new_step text, new_detail jsonb
) RETURNS ledger.audit_events
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head ledger.audit_head;
    event ledger.audit_events;
BEGIN
    -- From here to COMMIT nobody else can append: a client that stalls meanwhile is thrown out.
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
    SELECT * INTO STRICT head FROM ledger.audit_head FOR UPDATE;
    event.seq := head.seq + 1;
    event.event_id := gen_random_uuid();
    event.type := new_type;
    event.occurred_at := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    event.actor := new_actor;
    event.run := new_run;
    event.attempt := new_attempt;
    event.target := new_target;
    event.phase := new_phase;
    event.step := new_step;
    event.outcome := new_outcome;
    event.detail := coalesce(new_detail, '{}');
    event.prev_hash := head.hash;
    event.hash := encode(sha256(convert_to(ledger.canonical_json(to_jsonb(event) - 'hash'), 'UTF8')), 'hex');
    INSERT INTO ledger.audit_events SELECT event.*;
    UPDATE ledger.audit_head SET seq = event.seq, hash = event.hash;
    RETURN event;
END
$$;
COMMENT ON FUNCTION ledger.append_audit_event(text, text, text, bigint, integer, text, text, text, jsonb) IS
    'The only way into the audit log: numbers, dates, chains and stores one event';
REVOKE ALL ON FUNCTION ledger.append_audit_event(text, text, text, bigint, integer, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.append_audit_event(text, text, text, bigint, integer, text, text, text, jsonb)
    TO stepback_app;

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on ledger.% refused: the audit log is only appended to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION ledger.refuse_change() IS 'Refuses what would change the audit log, whoever asks';
REVOKE ALL ON FUNCTION ledger.refuse_change() FROM PUBLIC;

-- Grants do not bind the owner, row triggers do not see TRUNCATE, and ordinary ones sleep in replica role.
CREATE TRIGGER audit_events_no_change BEFORE UPDATE OR DELETE ON ledger.audit_events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON ledger.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON ledger.audit_head
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON ledger.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER audit_head_only_forward BEFORE UPDATE ON ledger.audit_head
    FOR EACH ROW WHEN (NEW.seq <> OLD.seq + 1) EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.audit_events ENABLE ALWAYS TRIGGER audit_events_no_change;
ALTER TABLE ledger.audit_events ENABLE ALWAYS TRIGGER audit_events_no_truncate;
ALTER TABLE ledger.audit_head ENABLE ALWAYS TRIGGER audit_head_no_delete;
ALTER TABLE ledger.audit_head ENABLE ALWAYS TRIGGER audit_head_no_truncate;
ALTER TABLE ledger.audit_head ENABLE ALWAYS TRIGGER audit_head_only_forward;

GRANT SELECT ON ledger.audit_events, ledger.audit_head TO stepback_app;
