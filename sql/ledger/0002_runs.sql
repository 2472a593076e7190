-- Effect: creates commands, runs, steps, applies and preserved, and the rules that a run's state obeys.
-- Locks:  none on existing objects.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_commands.py, test_claim.py, test_runs.py

CREATE TABLE ledger.commands (
    command_id      uuid PRIMARY KEY,
    kind            text NOT NULL CONSTRAINT commands_kind_check CHECK (kind IN ('rollback', 'recover')),
    target          text NOT NULL CHECK (octet_length(target) BETWEEN 1 AND 63),
    migration       text NOT NULL CHECK (octet_length(migration) BETWEEN 1 AND 63),
    subject_run     bigint,
    plan_sha256     ledger.sha256,
    requested_by    text NOT NULL CHECK (requested_by <> ''),
    reason          text NOT NULL,
    not_after       timestamptz NOT NULL,
    idempotency_key text,
    envelope        text NOT NULL,
    submitted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT commands_idempotency_key UNIQUE (requested_by, idempotency_key),
    CONSTRAINT commands_subject_run_check CHECK ((kind = 'recover') = (subject_run IS NOT NULL))
);
COMMENT ON TABLE ledger.commands IS 'Requests that passed the door, as they were signed; rows never change';
COMMENT ON COLUMN ledger.commands.command_id IS 'Chosen by the producer; all that the doorbell carries';
COMMENT ON COLUMN ledger.commands.kind IS 'What is asked for';
COMMENT ON COLUMN ledger.commands.target IS 'Configured name of the database';
COMMENT ON COLUMN ledger.commands.migration IS 'What to roll back; for a recovery, that of the run to recover';
COMMENT ON COLUMN ledger.commands.subject_run IS 'The run to recover; null for a rollback';
COMMENT ON COLUMN ledger.commands.plan_sha256 IS 'The plan as pinned at submit; null: nothing was pinned';
COMMENT ON COLUMN ledger.commands.requested_by IS 'Issuer of the signature';
COMMENT ON COLUMN ledger.commands.reason IS 'Why, in the words of whoever asks';
COMMENT ON COLUMN ledger.commands.not_after IS 'Not carried out after this time';
COMMENT ON COLUMN ledger.commands.idempotency_key IS 'The requester''s own key: the same one again means the same command';
COMMENT ON COLUMN ledger.commands.envelope IS 'The signed text, byte for byte';
COMMENT ON COLUMN ledger.commands.submitted_at IS 'When it was written down';

CREATE TABLE ledger.runs (
    run             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id      uuid NOT NULL UNIQUE REFERENCES ledger.commands,
    state           text NOT NULL DEFAULT 'queued' CONSTRAINT runs_state_check CHECK (state IN (
                        'queued', 'in_progress', 'awaiting_approval',
                        'completed', 'failed', 'cancelled', 'refused', 'needs_operator')),
    phase           text CONSTRAINT runs_phase_check CHECK (phase IN ('preflight', 'preserve', 'apply', 'finish')),
    attempt         integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    worker          text,
    lease_until     timestamptz,
    rung_at         timestamptz DEFAULT clock_timestamp(),
    started_at      timestamptz,
    finished_at     timestamptz,
    blocked_seconds double precision CHECK (blocked_seconds >= 0),
    plan_sha256     ledger.sha256,
    impact_sha256   ledger.sha256,
    error_code      text,
    error_message   text,
    CONSTRAINT runs_lease_check CHECK (
        state <> 'in_progress' OR (attempt > 0 AND started_at IS NOT NULL AND lease_until IS NOT NULL)),
    CONSTRAINT runs_finished_check CHECK (
        (state IN ('completed', 'failed', 'cancelled', 'refused', 'needs_operator')) = (finished_at IS NOT NULL)),
    CONSTRAINT runs_error_check CHECK (
        (error_code IS NULL) = (error_message IS NULL) AND (state <> 'completed' OR error_code IS NULL))
);
COMMENT ON TABLE ledger.runs IS 'Commands being carried out; who holds the attempt may write, everybody else touches nothing';
COMMENT ON COLUMN ledger.runs.run IS 'The number that people use; also in the target''s fence, marker and quarantine';
COMMENT ON COLUMN ledger.runs.command_id IS 'What is being carried out';
COMMENT ON COLUMN ledger.runs.state IS 'Where it stands; runs_keep_history holds the ways from one to another';
COMMENT ON COLUMN ledger.runs.phase IS 'The stretch it was last seen in; null before the first attempt';
COMMENT ON COLUMN ledger.runs.attempt IS 'Raised by every claim; every later write names it';
COMMENT ON COLUMN ledger.runs.worker IS 'Who claimed it last; null when it was given up';
COMMENT ON COLUMN ledger.runs.lease_until IS 'From then on anybody may claim it; by this database''s clock';
COMMENT ON COLUMN ledger.runs.rung_at IS 'When the doorbell was last rung for it; null once a claim has answered';
COMMENT ON COLUMN ledger.runs.started_at IS 'First claim';
COMMENT ON COLUMN ledger.runs.finished_at IS 'When it reached a state that nothing leaves';
COMMENT ON COLUMN ledger.runs.blocked_seconds IS 'How long apply held its first lock';
COMMENT ON COLUMN ledger.runs.plan_sha256 IS 'The plan as the worker read it';
COMMENT ON COLUMN ledger.runs.impact_sha256 IS 'What preflight found the plan to reach';
COMMENT ON COLUMN ledger.runs.error_code IS 'Why it ended as it did; null: as asked';
COMMENT ON COLUMN ledger.runs.error_message IS 'The same for a person, with the safe next thing to do';

ALTER TABLE ledger.commands
    ADD CONSTRAINT commands_subject_run_fkey FOREIGN KEY (subject_run) REFERENCES ledger.runs;

CREATE INDEX runs_unfinished ON ledger.runs (run) WHERE state IN ('queued', 'in_progress');
COMMENT ON INDEX ledger.runs_unfinished IS 'What the reconciler looks through';
CREATE INDEX commands_target ON ledger.commands (target);
COMMENT ON INDEX ledger.commands_target IS 'The runs of one target';

CREATE FUNCTION ledger.keep_history() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.attempt < OLD.attempt THEN
        RAISE EXCEPTION 'run %: the attempt number only rises', OLD.run USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state IN ('completed', 'failed', 'cancelled', 'refused', 'needs_operator') THEN
        RAISE EXCEPTION 'run % is %: nothing leaves that state', OLD.run, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND NOT (CASE OLD.state
        -- Taken by a worker; or taken back before any worker did.
        WHEN 'queued' THEN NEW.state IN ('in_progress', 'cancelled', 'refused')
        -- Preflight asks for approval and gives up the lease; everything else ends here.
        WHEN 'in_progress' THEN NEW.state IN
            ('awaiting_approval', 'completed', 'failed', 'cancelled', 'refused', 'needs_operator')
        -- Approved; or not.
        WHEN 'awaiting_approval' THEN NEW.state IN ('queued', 'cancelled', 'refused')
    END) THEN
        RAISE EXCEPTION 'run %: no way leads from % to %', OLD.run, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION ledger.keep_history() IS 'The ways from one run state to another';
REVOKE ALL ON FUNCTION ledger.keep_history() FROM PUBLIC;
CREATE TRIGGER runs_keep_history BEFORE UPDATE ON ledger.runs
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_history();
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_keep_history;

CREATE TABLE ledger.steps (
    run         bigint NOT NULL REFERENCES ledger.runs,
    ordinal     integer NOT NULL,
    attempt     integer NOT NULL,
    phase       text NOT NULL CONSTRAINT steps_phase_check CHECK (phase IN ('preflight', 'preserve', 'apply', 'finish')),
    step        text NOT NULL,
    outcome     text NOT NULL,
    seconds     double precision NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, ordinal)
);
COMMENT ON TABLE ledger.steps IS 'What a run did, step by step; rows never change';
COMMENT ON COLUMN ledger.steps.run IS 'Whose step';
COMMENT ON COLUMN ledger.steps.ordinal IS 'In the order of writing, over all attempts';
COMMENT ON COLUMN ledger.steps.attempt IS 'Which attempt wrote it down';
COMMENT ON COLUMN ledger.steps.phase IS 'The stretch it belongs to';
COMMENT ON COLUMN ledger.steps.step IS 'Its name';
COMMENT ON COLUMN ledger.steps.outcome IS 'How it ended; the audit event is step_<outcome>';
COMMENT ON COLUMN ledger.steps.seconds IS 'How long it took';
COMMENT ON COLUMN ledger.steps.recorded_at IS 'When it was written down; for apply, after its COMMIT';

CREATE TABLE ledger.applies (
    run               bigint NOT NULL REFERENCES ledger.runs,
    attempt           integer NOT NULL,
    ordinal           integer NOT NULL,
    system_identifier text NOT NULL,
    database_oid      bigint NOT NULL,
    xid               text NOT NULL,
    begun_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, attempt, ordinal)
);
COMMENT ON TABLE ledger.applies IS 'Transactions of apply, written before their first lock: where an unclear COMMIT is looked up';
COMMENT ON COLUMN ledger.applies.run IS 'Whose apply';
COMMENT ON COLUMN ledger.applies.attempt IS 'Of which attempt';
COMMENT ON COLUMN ledger.applies.ordinal IS 'Which try of the attempt, from 1';
COMMENT ON COLUMN ledger.applies.system_identifier IS 'Of the target''s cluster; another one there later means: do not touch';
COMMENT ON COLUMN ledger.applies.database_oid IS 'Of the target''s database';
COMMENT ON COLUMN ledger.applies.xid IS 'pg_current_xact_id of the transaction';
COMMENT ON COLUMN ledger.applies.begun_at IS 'When it was written down';

CREATE TABLE ledger.preserved (
    run        bigint NOT NULL REFERENCES ledger.runs,
    ordinal    integer NOT NULL,
    kind       text NOT NULL,
    name       text NOT NULL,
    how        text NOT NULL CONSTRAINT preserved_how_check CHECK (how IN ('moved', 'copied', 'defined')),
    rows       bigint,
    bytes      bigint,
    quarantine text,
    PRIMARY KEY (run, ordinal)
);
COMMENT ON TABLE ledger.preserved IS 'What a run keeps in its target, as reported when it ended; rows never change';
COMMENT ON COLUMN ledger.preserved.run IS 'Who keeps it';
COMMENT ON COLUMN ledger.preserved.ordinal IS 'In the order in which the run preserved it';
COMMENT ON COLUMN ledger.preserved.kind IS 'What it was: table, column, type, …';
COMMENT ON COLUMN ledger.preserved.name IS 'Its full name before the run';
COMMENT ON COLUMN ledger.preserved.how IS 'Moved to a quarantine, copied there, or written down';
COMMENT ON COLUMN ledger.preserved.rows IS 'How many rows; null where it has none';
COMMENT ON COLUMN ledger.preserved.bytes IS 'How large; null where unknown';
COMMENT ON COLUMN ledger.preserved.quarantine IS 'Schema in the target that holds it; null: its definition is all of it';

GRANT SELECT, INSERT ON ledger.commands, ledger.runs, ledger.steps, ledger.applies, ledger.preserved TO stepback_app;
GRANT UPDATE (state, phase, attempt, worker, lease_until, rung_at, started_at, finished_at, blocked_seconds,
              plan_sha256, impact_sha256, error_code, error_message) ON ledger.runs TO stepback_app;
