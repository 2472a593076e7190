-- Effect: the same functions with less work: canonical_json calls itself for what is nested only, record_commands looks
--         up what is known by one index each, and counts what somebody has asked for within the hour once a batch.
-- Locks:  none on tables.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_audit_append.py, test_commands.py, tests/integration/producers/test_submit.py

-- A call costs more than what it does for a text or a truth value: those are printed where they are met.
CREATE OR REPLACE FUNCTION ledger.canonical_json(value jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            RETURN '{' || coalesce((
                SELECT string_agg(
                           to_json(key)::text || ':'
                           || CASE WHEN jsonb_typeof(member) IN ('string', 'boolean', 'null')
                                   THEN member::text ELSE ledger.canonical_json(member) END,
                           ',' ORDER BY key COLLATE "C")
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

CREATE OR REPLACE FUNCTION ledger.record_commands(given jsonb) RETURNS TABLE (
    place integer, run bigint, verdict text, event jsonb
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item jsonb;
    asked ledger.commands;
    known ledger.commands;
    -- By requester and target: how many destructive commands there are of the last hour, this batch included.
    counts jsonb := '{}';
    counted text;
BEGIN
    -- Taken first: until COMMIT whoever records or appends waits here, and nowhere else.
    PERFORM FROM ledger.audit_head FOR UPDATE;
    FOR item, place IN SELECT e.value, e.ordinality FROM jsonb_array_elements(given) WITH ORDINALITY AS e LOOP
        asked := jsonb_populate_record(NULL::ledger.commands, item -> 'command');
        asked.submitted_at := clock_timestamp();
        asked.needs_approval := coalesce(asked.needs_approval, false);
        event := NULL;
        -- The id says more than the key. Two questions: for both in one, no index may be used.
        SELECT c.* INTO known FROM ledger.commands AS c WHERE c.command_id = asked.command_id;
        IF NOT FOUND AND asked.idempotency_key IS NOT NULL THEN
            SELECT c.* INTO known FROM ledger.commands AS c
             WHERE c.requested_by = asked.requested_by AND c.idempotency_key = asked.idempotency_key;
        END IF;
        IF known.command_id IS NOT NULL THEN
            verdict := CASE
                WHEN known.command_id = asked.command_id
                    THEN CASE WHEN known.envelope = asked.envelope THEN 'known' ELSE 'other_content' END
                WHEN (known.kind, known.target, known.migration, known.subject_run, known.accept_sha256, known.policy,
                      known.conditions, known.report)
                     IS NOT DISTINCT FROM
                     (asked.kind, asked.target, asked.migration, asked.subject_run, asked.accept_sha256, asked.policy,
                      asked.conditions, asked.report)
                    THEN 'known' ELSE 'other_wish' END;
            run := (SELECT r.run FROM ledger.runs AS r WHERE r.command_id = known.command_id);
            RETURN NEXT;
            CONTINUE;
        END IF;
        run := NULL;
        counted := jsonb_build_array(asked.requested_by, asked.target)::text;
        IF (item ->> 'limit') IS NOT NULL THEN
            IF NOT counts ? counted THEN
                counts := counts || jsonb_build_object(counted, (
                    SELECT count(*) FROM ledger.commands AS c
                     WHERE c.requested_by = asked.requested_by AND c.target = asked.target
                       AND c.kind IN ('rollback', 'purge')
                       AND c.submitted_at > clock_timestamp() - interval '1 hour'));
            END IF;
            IF (item ->> 'limit')::bigint <= (counts ->> counted)::bigint THEN
                verdict := 'limit_reached';
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        INSERT INTO ledger.commands SELECT asked.*;
        IF counts ? counted AND asked.kind IN ('rollback', 'purge') THEN
            counts := counts || jsonb_build_object(counted, (counts ->> counted)::bigint + 1);
        END IF;
        IF asked.kind = 'canary' THEN
            -- The monitor sends one every minute: they count backwards, and leave to runs the numbers that people use.
            INSERT INTO ledger.runs AS r (run, command_id) OVERRIDING SYSTEM VALUE
                VALUES (-nextval('ledger.canaries'), asked.command_id) RETURNING r.run INTO run;
        ELSE
            INSERT INTO ledger.runs AS r (command_id) VALUES (asked.command_id) RETURNING r.run INTO run;
        END IF;
        verdict := 'recorded';
        event := to_jsonb(ledger.append_audit_event('command_submitted', asked.requested_by, 'ok', run, NULL,
                                                    asked.target, NULL, NULL, item -> 'detail'));
        RETURN NEXT;
    END LOOP;
END
$$;
