-- Effect: creates the outbox in an application's database: stepback.request_rollback() and request_recovery() ask for
--         something, in the caller's own transaction; stepback.requests tells everybody what became of theirs.
-- Locks:  none on objects of the application.
-- Transactional: yes. May be run any number of times; requests that are there are kept.
-- Verified by: tests/integration/producers/test_outbox_install.py, test_outbox_sql.py

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
-- Default privileges of whoever installs would otherwise open the table to others.
SET LOCAL ROLE stepback_outbox;

CREATE TABLE IF NOT EXISTS stepback.outbox (
    command_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ordinal         bigint GENERATED ALWAYS AS IDENTITY,
    requested_by    name NOT NULL DEFAULT session_user,
    requested_at    timestamptz NOT NULL,
    not_after       timestamptz NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('rollback', 'recover')),
    target          text NOT NULL,
    migration       text,
    subject_run     bigint,
    reason          text NOT NULL,
    idempotency_key text,
    plan_sha256     text,
    accept_sha256   text,
    policy          text,
    envelope        text,
    run             bigint,
    refused_code    text,
    refused_message text,
    answered_at     timestamptz,
    CONSTRAINT outbox_idempotency_key UNIQUE (requested_by, idempotency_key),
    CONSTRAINT outbox_one_answer CHECK (num_nonnulls(run, refused_code) = (answered_at IS NOT NULL)::int)
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON stepback.outbox (ordinal) WHERE answered_at IS NULL;

COMMENT ON SCHEMA stepback IS 'Asking Stepback for something from within this database';
COMMENT ON TABLE stepback.outbox IS 'Requests, as they were made: written by the functions of this schema, answered by `stepback outbox`; answered ones may be deleted by the owner of the database';
COMMENT ON INDEX stepback.outbox_waiting IS 'What the relay looks for, however many requests are answered';
COMMENT ON COLUMN stepback.outbox.command_id IS 'The id of the command: a request that is handed in twice is one command';
COMMENT ON COLUMN stepback.outbox.ordinal IS 'The order in which requests are relayed';
COMMENT ON COLUMN stepback.outbox.requested_by IS 'The role that logged in, whatever role it acted as';
COMMENT ON COLUMN stepback.outbox.requested_at IS 'When it was asked, by this server''s clock';
COMMENT ON COLUMN stepback.outbox.not_after IS 'Nothing is begun after this';
COMMENT ON COLUMN stepback.outbox.kind IS 'rollback or recover';
COMMENT ON COLUMN stepback.outbox.target IS 'Configured name of the database that is meant';
COMMENT ON COLUMN stepback.outbox.migration IS 'What to roll back; for a recovery one member of a composite plan, or NULL';
COMMENT ON COLUMN stepback.outbox.subject_run IS 'The run to recover';
COMMENT ON COLUMN stepback.outbox.reason IS 'Why, for those who read it later';
COMMENT ON COLUMN stepback.outbox.idempotency_key IS 'The requester''s own key: asked again under it, nothing new is asked';
COMMENT ON COLUMN stepback.outbox.plan_sha256 IS 'The plan that is meant; NULL: as it is when the request arrives';
COMMENT ON COLUMN stepback.outbox.accept_sha256 IS 'The impact that may go along though the plan does not name all of it';
COMMENT ON COLUMN stepback.outbox.policy IS 'skip, overwrite or aside: where a preserved row meets a newer one';
COMMENT ON COLUMN stepback.outbox.envelope IS 'What the relay signed: kept before it is handed in, so that the very same is handed in again after a crash';
COMMENT ON COLUMN stepback.outbox.run IS 'The number of the run, once the command is in the ledger';
COMMENT ON COLUMN stepback.outbox.refused_code IS 'Why it was refused; docs/errors.md lists the words';
COMMENT ON COLUMN stepback.outbox.refused_message IS 'The same as a sentence';
COMMENT ON COLUMN stepback.outbox.answered_at IS 'When run or refusal were written here';

-- -- what may be asked ---------------------------------------------------------
-- Errors name the argument and never repeat it: it may be a password in the wrong place, and errors are logged.

CREATE OR REPLACE FUNCTION stepback.check_name(what text, given text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF given IS NULL OR given = '' THEN
        RAISE EXCEPTION 'the % is empty; give its name', what USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(given) > 63 OR given !~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' OR given ~ '\.\.' THEN
        RAISE EXCEPTION 'the % cannot be a name', what
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A name has letters, digits, "_", "-" and ".", begins with a letter or digit, and is at most 63 bytes long.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION stepback.check_hash(what text, given text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF given !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION '% is not a hash: 64 hexadecimal digits, as `stepback plan` prints it', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- Appends one request, or finds the one that was made under the same key. Runs as whoever calls it, which is one of the two
-- functions below: nobody else may.
CREATE OR REPLACE FUNCTION stepback.append_request(
    asked_kind text, asked_target text, asked_migration text, asked_run bigint, asked_reason text, asked_key text,
    asked_plan text, asked_accept text, asked_policy text, valid_for interval
) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked_at timestamptz := clock_timestamp();
    given uuid;
    known stepback.outbox;
BEGIN
    PERFORM stepback.check_name('target', asked_target);
    IF asked_reason IS NULL OR asked_reason !~ '\S' THEN
        RAISE EXCEPTION 'the reason is empty; say why, for those who read it later'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF char_length(asked_reason) > 500 THEN
        RAISE EXCEPTION 'the reason is longer than 500 characters' USING ERRCODE = 'string_data_right_truncation';
    END IF;
    -- Also what terminals and log readers take for line ends, and what turns the reading direction.
    IF asked_reason ~ '[\u0001-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]' THEN
        RAISE EXCEPTION 'the reason holds a control character, a line break, or what turns the reading direction; give one line of plain text'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF asked_key !~ '^[!-~]([ -~]{0,198}[!-~])?$' THEN
        RAISE EXCEPTION 'the idempotency key is not 1 to 200 printable ASCII characters without spaces at its ends'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM stepback.check_hash('plan_sha256', asked_plan);
    PERFORM stepback.check_hash('accept_sha256', asked_accept);
    IF valid_for IS NULL OR valid_for <= interval '0' OR valid_for > interval '24 hours' THEN
        RAISE EXCEPTION 'valid_for is not between 0 and 24 hours' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO stepback.outbox AS o (requested_at, not_after, kind, target, migration, subject_run, reason,
                                      idempotency_key, plan_sha256, accept_sha256, policy)
    -- In seconds: a day of the caller's time zone may have 25 hours.
    VALUES (asked_at, asked_at + make_interval(secs => extract(epoch FROM valid_for)::double precision),
            asked_kind, asked_target, asked_migration, asked_run, asked_reason, asked_key,
            asked_plan, asked_accept, asked_policy)
    ON CONFLICT ON CONSTRAINT outbox_idempotency_key DO NOTHING
    RETURNING o.command_id INTO given;
    IF given IS NOT NULL THEN
        -- Heard when the transaction commits. Without content: everybody who may log in may listen.
        PERFORM pg_notify('stepback_outbox', '');
        RETURN given;
    END IF;

    SELECT * INTO STRICT known FROM stepback.outbox AS o
     WHERE o.requested_by = session_user AND o.idempotency_key = asked_key;
    IF (known.kind, known.target, known.migration, known.subject_run, known.plan_sha256, known.accept_sha256,
        known.policy)
       IS DISTINCT FROM
       (asked_kind, asked_target, asked_migration, asked_run, asked_plan, asked_accept, asked_policy) THEN
        RAISE EXCEPTION 'the idempotency key belongs to a request that asks something else; use a new key'
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN known.command_id;
END
$$;

-- -- asking --------------------------------------------------------------------
-- The rights of the owner for the one INSERT; who asks is who logged in, which neither SET ROLE nor a function of somebody
-- else can change.

CREATE OR REPLACE FUNCTION stepback.request_rollback(
    migration text, reason text, target text, idempotency_key text DEFAULT NULL, plan_sha256 text DEFAULT NULL,
    accept_sha256 text DEFAULT NULL, valid_for interval DEFAULT interval '1 hour'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM stepback.check_name('migration', migration);
    RETURN stepback.append_request('rollback', target, migration, NULL, reason, idempotency_key, plan_sha256,
                                   accept_sha256, NULL, valid_for);
END
$$;
COMMENT ON FUNCTION stepback.request_rollback IS
    'Asks for a migration to be rolled back once this transaction has committed; returns the id of the command';

CREATE OR REPLACE FUNCTION stepback.request_recovery(
    run bigint, reason text, target text, idempotency_key text DEFAULT NULL, migration text DEFAULT NULL,
    policy text DEFAULT NULL, valid_for interval DEFAULT interval '1 hour'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run IS NULL OR run < 1 THEN
        RAISE EXCEPTION 'a run is known by its number, which is 1 or more' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF migration IS NOT NULL THEN
        PERFORM stepback.check_name('migration', migration);
    END IF;
    IF policy NOT IN ('skip', 'overwrite', 'aside') THEN
        RAISE EXCEPTION 'the policy is none of skip, overwrite and aside' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN stepback.append_request('recover', target, migration, run, reason, idempotency_key, NULL, NULL, policy,
                                   valid_for);
END
$$;
COMMENT ON FUNCTION stepback.request_recovery IS
    'Asks for a completed rollback to be undone once this transaction has committed; returns the id of the command';

-- A barrier: no function in a caller's WHERE sees a row before it is known to be theirs.
CREATE OR REPLACE VIEW stepback.requests WITH (security_barrier) AS
SELECT command_id, requested_at, not_after, kind, target, migration, subject_run, reason, idempotency_key,
       CASE WHEN run IS NOT NULL THEN 'accepted' WHEN refused_code IS NOT NULL THEN 'refused' ELSE 'waiting' END AS state,
       run, refused_code, refused_message, answered_at
  FROM stepback.outbox
 WHERE requested_by = session_user;
COMMENT ON VIEW stepback.requests IS 'What this login has asked for, and what became of it: the number of a run, or a refusal';
COMMENT ON COLUMN stepback.requests.state IS 'waiting, accepted or refused';

-- -- who may what --------------------------------------------------------------

REVOKE ALL ON SCHEMA stepback FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA stepback FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA stepback FROM PUBLIC;

GRANT USAGE ON SCHEMA stepback TO stepback_requester, stepback_relay;
GRANT EXECUTE ON FUNCTION stepback.request_rollback, stepback.request_recovery TO stepback_requester;
GRANT SELECT ON stepback.requests TO stepback_requester;
-- The relay answers; what was asked it can neither change nor delete.
GRANT SELECT, UPDATE (envelope, run, refused_code, refused_message, answered_at) ON stepback.outbox TO stepback_relay;
