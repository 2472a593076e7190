-- Effect: who may ask and with whose consent: keys that expire, commands that wait for an approval, signed approvals and
--         cancellations, and one function that writes a batch of commands down.
-- Locks:  ACCESS EXCLUSIVE on ledger.signing_keys and ledger.commands, for a moment: nothing is rewritten.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_commands.py, test_consent.py, tests/integration/producers/test_attacks.py

ALTER TABLE ledger.signing_keys ADD COLUMN expires_at timestamptz;
COMMENT ON COLUMN ledger.signing_keys.expires_at IS 'As revoked_at, foreseen when it was registered; null: never';

ALTER TABLE ledger.commands
    ADD COLUMN needs_approval boolean NOT NULL DEFAULT false,
    ADD COLUMN via text;
COMMENT ON COLUMN ledger.commands.needs_approval IS 'Whether the rights of whoever asks say that somebody else approves';
COMMENT ON COLUMN ledger.commands.via IS 'The door that it came in by; null: before doors were told apart';
CREATE INDEX commands_destructive ON ledger.commands (requested_by, target, submitted_at)
    WHERE kind IN ('rollback', 'purge');
COMMENT ON INDEX ledger.commands_destructive IS 'How much somebody has asked for within the hour';

CREATE TABLE ledger.approvals (
    run           bigint NOT NULL REFERENCES ledger.runs,
    approved_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    approved_by   text NOT NULL CHECK (approved_by <> ''),
    plan_sha256   ledger.sha256,
    impact_sha256 ledger.sha256 NOT NULL,
    not_after     timestamptz NOT NULL,
    envelope      text NOT NULL,
    PRIMARY KEY (run, approved_at)
);
COMMENT ON TABLE ledger.approvals IS 'Signed consents to runs that waited; the worker verifies each again; rows never change';
COMMENT ON COLUMN ledger.approvals.run IS 'What may go on';
COMMENT ON COLUMN ledger.approvals.approved_at IS 'When it was written down';
COMMENT ON COLUMN ledger.approvals.approved_by IS 'Issuer of the signature, who is not the requester';
COMMENT ON COLUMN ledger.approvals.plan_sha256 IS 'The plan that was approved; null: the command has none';
COMMENT ON COLUMN ledger.approvals.impact_sha256 IS 'The impact that was approved: with another one it counts for nothing';
COMMENT ON COLUMN ledger.approvals.not_after IS 'From then on it counts for nothing';
COMMENT ON COLUMN ledger.approvals.envelope IS 'The signed text, byte for byte';

CREATE TABLE ledger.cancellations (
    run          bigint NOT NULL REFERENCES ledger.runs,
    cancelled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancelled_by text NOT NULL CHECK (cancelled_by <> ''),
    envelope     text NOT NULL,
    PRIMARY KEY (run, cancelled_at)
);
COMMENT ON TABLE ledger.cancellations IS 'Signed wishes that a run be stopped before it changes anything; rows never change';
COMMENT ON COLUMN ledger.cancellations.run IS 'What is not wanted any more';
COMMENT ON COLUMN ledger.cancellations.cancelled_at IS 'When it was written down';
COMMENT ON COLUMN ledger.cancellations.cancelled_by IS 'Issuer of the signature';
COMMENT ON COLUMN ledger.cancellations.envelope IS 'The signed text, byte for byte';

GRANT SELECT ON ledger.approvals, ledger.cancellations TO stepback_app;

CREATE FUNCTION ledger.same_party(one text, other text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    RETURN split_part(one, '/', 1) = split_part(other, '/', 1);
COMMENT ON FUNCTION ledger.same_party(text, text) IS 'Whether two issuers are behind one key: outbox:shop speaks for outbox:shop/ada';
REVOKE ALL ON FUNCTION ledger.same_party(text, text) FROM PUBLIC;

-- Whether the signature is good is not decided here: the producer has verified it, and the worker verifies it again.
CREATE FUNCTION ledger.approve(
    subject bigint, by text, plan text, impact text, until timestamptz, signed text
) RETURNS TABLE (verdict text, event jsonb)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    waiting ledger.runs;
    asked ledger.commands;
BEGIN
    SELECT * INTO waiting FROM ledger.runs WHERE run = subject FOR NO KEY UPDATE;
    IF NOT FOUND OR waiting.state <> 'awaiting_approval' THEN
        -- Whoever got no answer sends the same again. Where the run waits anew, it is judged anew.
        RETURN QUERY SELECT CASE WHEN EXISTS (
            SELECT FROM ledger.approvals AS a WHERE a.run = subject AND a.approved_by = by AND a.envelope = signed
        ) THEN 'known' ELSE 'not_awaiting' END, NULL::jsonb;
        RETURN;
    END IF;
    SELECT * INTO STRICT asked FROM ledger.commands WHERE command_id = waiting.command_id;
    IF ledger.same_party(asked.requested_by, by) THEN
        RETURN QUERY SELECT 'not_allowed', NULL::jsonb;
        RETURN;
    END IF;
    IF waiting.impact_sha256 IS DISTINCT FROM impact OR waiting.plan_sha256 IS DISTINCT FROM plan THEN
        RETURN QUERY SELECT 'impact_changed', NULL::jsonb;
        RETURN;
    END IF;
    IF until <= clock_timestamp() THEN
        RETURN QUERY SELECT 'expired', NULL::jsonb;
        RETURN;
    END IF;
    INSERT INTO ledger.approvals (run, approved_by, plan_sha256, impact_sha256, not_after, envelope)
        VALUES (subject, by, plan, impact, until, signed);
    UPDATE ledger.runs SET state = 'queued', rung_at = clock_timestamp(), progressed_at = clock_timestamp()
     WHERE run = subject;
    RETURN QUERY SELECT 'approved', to_jsonb(ledger.append_audit_event(
        'run_approved', by, 'ok', subject, NULL, asked.target, NULL, NULL,
        jsonb_build_object('requested_by', asked.requested_by, 'plan_sha256', plan, 'impact_sha256', impact,
                           'envelope_sha256', encode(sha256(convert_to(signed, 'UTF8')), 'hex'))));
END
$$;
COMMENT ON FUNCTION ledger.approve(bigint, text, text, text, timestamptz, text) IS
    'Lets a run that waits go on, if it is still what was approved and somebody else has asked for it';
REVOKE ALL ON FUNCTION ledger.approve(bigint, text, text, text, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.approve(bigint, text, text, text, timestamptz, text) TO stepback_app;

-- What no worker has in hand ends here; of what one has, it is told, and stops before it changes anything.
CREATE FUNCTION ledger.cancel(subject bigint, by text, signed text) RETURNS TABLE (verdict text, event jsonb)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known ledger.runs;
    asked ledger.commands;
    told jsonb := jsonb_build_object('envelope_sha256', encode(sha256(convert_to(signed, 'UTF8')), 'hex'));
BEGIN
    SELECT * INTO known FROM ledger.runs WHERE run = subject FOR NO KEY UPDATE;
    -- Whoever got no answer sends the same again, whatever has become of the run since.
    IF EXISTS (SELECT FROM ledger.cancellations AS c
                WHERE c.run = subject AND c.cancelled_by = by AND c.envelope = signed) THEN
        RETURN QUERY SELECT 'known', NULL::jsonb;
        RETURN;
    END IF;
    IF known.run IS NULL OR known.state NOT IN ('queued', 'in_progress', 'awaiting_approval') THEN
        RETURN QUERY SELECT 'ended', NULL::jsonb;
        RETURN;
    END IF;
    SELECT * INTO STRICT asked FROM ledger.commands WHERE command_id = known.command_id;
    -- One that counts for nothing, since its signer's right or key is gone, must not stand in the way of another.
    INSERT INTO ledger.cancellations (run, cancelled_by, envelope) VALUES (subject, by, signed);
    IF known.state = 'in_progress' THEN
        RETURN QUERY SELECT 'requested', to_jsonb(ledger.append_audit_event(
            'cancellation_requested', by, 'ok', subject, NULL, asked.target, NULL, NULL, told));
        RETURN;
    END IF;
    UPDATE ledger.runs SET state = 'cancelled', finished_at = clock_timestamp(), error_code = 'cancelled',
           error_message = 'it was cancelled by ' || by || ' before it changed anything'
     WHERE run = subject;
    RETURN QUERY SELECT 'cancelled', to_jsonb(ledger.append_audit_event(
        'run_cancelled', by, 'cancelled', subject, NULL, asked.target, NULL, NULL, told));
END
$$;
COMMENT ON FUNCTION ledger.cancel(bigint, text, text) IS 'Ends a run that no worker has in hand; asks for the end of one that a worker has';
REVOKE ALL ON FUNCTION ledger.cancel(bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.cancel(bigint, text, text) TO stepback_app;

-- One call for many: with one look at the chain's head, one COMMIT, and nothing that two submitters could deadlock on.
CREATE FUNCTION ledger.record_commands(given jsonb) RETURNS TABLE (
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
COMMENT ON FUNCTION ledger.record_commands(jsonb) IS
    'Writes commands, their queued runs and their audit events down; what is known already stays as it is';
REVOKE ALL ON FUNCTION ledger.record_commands(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.record_commands(jsonb) TO stepback_app;
