-- Effect: what the monitor looks at: when a run last moved, how many stand where, which workers live, which bad ends nobody
--         has taken note of, and the canary, a command that touches no target.
-- Locks:  ACCESS EXCLUSIVE on ledger.runs and ledger.commands, while their rows are counted once.
-- Transactional: yes, with its Alembic revision.
-- Verified by: tests/integration/ledger/test_watching.py, test_incidents.py

ALTER TABLE ledger.commands
    DROP CONSTRAINT commands_kind_check,
    DROP CONSTRAINT commands_migration_known,
    ADD CONSTRAINT commands_kind_check CHECK (kind IN ('rollback', 'recover', 'validate', 'purge', 'canary')),
    ADD CONSTRAINT commands_migration_known CHECK (kind IN ('validate', 'canary') OR migration IS NOT NULL);
CREATE SEQUENCE ledger.canaries;
COMMENT ON SEQUENCE ledger.canaries IS 'Canaries count backwards, so that runs have the numbers that people use to themselves';
GRANT USAGE ON SEQUENCE ledger.canaries TO stepback_app;
CREATE INDEX commands_canary ON ledger.commands (submitted_at) WHERE kind = 'canary';
COMMENT ON INDEX ledger.commands_canary IS 'The last canary';

ALTER TABLE ledger.runs ADD COLUMN progressed_at timestamptz;
COMMENT ON COLUMN ledger.runs.progressed_at IS
    'When its attempt last got on: a claim, a phase, a step, a chunk; a heartbeat alone is not getting on';
GRANT UPDATE (progressed_at) ON ledger.runs TO stepback_app;

DROP INDEX ledger.runs_unfinished;
CREATE INDEX runs_open ON ledger.runs (run) WHERE state IN ('queued', 'in_progress', 'awaiting_approval');
COMMENT ON INDEX ledger.runs_open IS 'What the reconciler and the monitor look through, however many runs are over';

CREATE TABLE ledger.workers (
    worker      text PRIMARY KEY CHECK (worker <> ''),
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_until timestamptz NOT NULL
);
COMMENT ON TABLE ledger.workers IS 'Workers that have said lately that they live; one that stops takes its row away';
COMMENT ON COLUMN ledger.workers.worker IS 'Host and process; also in runs and in the audit log';
COMMENT ON COLUMN ledger.workers.started_at IS 'When it began';
COMMENT ON COLUMN ledger.workers.alive_until IS 'From then on it counts as dead, unless it says so again';
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.workers TO stepback_app;

-- Counting a million runs takes longer than a scan may: each that moves is counted as it does.
CREATE TABLE ledger.tally (
    kind  text NOT NULL,
    state text NOT NULL,
    runs  bigint NOT NULL,
    PRIMARY KEY (kind, state)
);
COMMENT ON TABLE ledger.tally IS 'How many runs of a kind stand in a state; kept by runs_count';
COMMENT ON COLUMN ledger.tally.kind IS 'As in commands';
COMMENT ON COLUMN ledger.tally.state IS 'As in runs';
COMMENT ON COLUMN ledger.tally.runs IS 'How many';
INSERT INTO ledger.tally
    SELECT command.kind, run.state, count(*)
      FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id) GROUP BY 1, 2;
GRANT SELECT ON ledger.tally TO stepback_app;

CREATE FUNCTION ledger.count_run() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked text := (SELECT kind FROM ledger.commands WHERE command_id = NEW.command_id);
    moved record;
BEGIN
    -- In one order, so that two runs that change places do not wait for each other.
    FOR moved IN
        SELECT * FROM (VALUES (CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, -1), (NEW.state, 1)) AS m (state, runs)
         WHERE state IS NOT NULL ORDER BY state COLLATE "C"
    LOOP
        INSERT INTO ledger.tally VALUES (asked, moved.state, moved.runs)
            ON CONFLICT (kind, state) DO UPDATE SET runs = tally.runs + excluded.runs;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ledger.count_run() IS 'Keeps the tally';
REVOKE ALL ON FUNCTION ledger.count_run() FROM PUBLIC;
CREATE TRIGGER runs_count_new AFTER INSERT ON ledger.runs FOR EACH ROW EXECUTE FUNCTION ledger.count_run();
CREATE TRIGGER runs_count AFTER UPDATE OF state ON ledger.runs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION ledger.count_run();
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_count_new;
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_count;

CREATE TABLE ledger.incidents (
    run         bigint NOT NULL REFERENCES ledger.runs,
    incident    text NOT NULL CONSTRAINT incidents_incident_check
                    CHECK (incident IN ('failed', 'needs_operator', 'validation_failed')),
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text,
    PRIMARY KEY (run, incident),
    CONSTRAINT incidents_resolved_check CHECK ((resolved_at IS NULL) = (resolved_by IS NULL))
);
COMMENT ON TABLE ledger.incidents IS 'Bad ends of runs, until somebody acknowledges them or the same thing succeeds';
COMMENT ON COLUMN ledger.incidents.run IS 'Whose end';
COMMENT ON COLUMN ledger.incidents.incident IS 'What was bad about it';
COMMENT ON COLUMN ledger.incidents.opened_at IS 'When it ended so';
COMMENT ON COLUMN ledger.incidents.resolved_at IS 'Since when nobody has to look; null: somebody has to';
COMMENT ON COLUMN ledger.incidents.resolved_by IS 'Who acknowledged it, or which run succeeded';
CREATE INDEX incidents_open ON ledger.incidents (run) WHERE resolved_at IS NULL;
COMMENT ON INDEX ledger.incidents_open IS 'What the monitor raises';
CREATE INDEX incidents_resolved ON ledger.incidents (resolved_at) WHERE resolved_at IS NOT NULL;
COMMENT ON INDEX ledger.incidents_resolved IS 'What it has lately ceased to raise';
GRANT SELECT ON ledger.incidents TO stepback_app;
GRANT UPDATE (resolved_at, resolved_by) ON ledger.incidents TO stepback_app;

CREATE FUNCTION ledger.note_end() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked ledger.commands;
    checked jsonb;
BEGIN
    SELECT * INTO STRICT asked FROM ledger.commands WHERE command_id = NEW.command_id;
    -- A canary that ends badly is no run that anybody waits for: that the last good one is long ago tells.
    IF asked.kind = 'canary' THEN
        RETURN NULL;
    END IF;
    IF NEW.state IN ('failed', 'needs_operator') THEN
        INSERT INTO ledger.incidents (run, incident) VALUES (NEW.run, NEW.state);
        RETURN NULL;
    END IF;
    checked := CASE asked.kind WHEN 'validate' THEN NEW.result ELSE NEW.result -> 'validation' END;
    IF checked ->> 'ok' = 'false' THEN
        INSERT INTO ledger.incidents (run, incident) VALUES (NEW.run, 'validation_failed');
    END IF;
    UPDATE ledger.incidents AS open SET resolved_at = clock_timestamp(), resolved_by = 'run ' || NEW.run
      FROM ledger.runs AS run JOIN ledger.commands AS command USING (command_id)
     WHERE open.resolved_at IS NULL AND open.run < NEW.run AND run.run = open.run AND command.target = asked.target
       AND CASE WHEN open.incident = 'validation_failed'
                THEN checked ->> 'ok' = 'true' AND (asked.migration IS NULL OR asked.migration = command.migration)
                ELSE command.kind = asked.kind AND command.migration IS NOT DISTINCT FROM asked.migration
                     AND command.subject_run IS NOT DISTINCT FROM asked.subject_run END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ledger.note_end() IS 'Opens an incident for a bad end; resolves those that a good end makes good';
REVOKE ALL ON FUNCTION ledger.note_end() FROM PUBLIC;
CREATE TRIGGER runs_note_end AFTER UPDATE OF state ON ledger.runs
    FOR EACH ROW WHEN (NEW.state <> OLD.state AND NEW.state IN ('completed', 'failed', 'needs_operator'))
    EXECUTE FUNCTION ledger.note_end();
ALTER TABLE ledger.runs ENABLE ALWAYS TRIGGER runs_note_end;

CREATE TABLE ledger.acknowledgements (
    run             bigint NOT NULL REFERENCES ledger.runs,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    acknowledged_by text NOT NULL CHECK (acknowledged_by <> ''),
    reason          text NOT NULL,
    PRIMARY KEY (run, acknowledged_at)
);
COMMENT ON TABLE ledger.acknowledgements IS 'Who has taken note of a run; rows never change';
COMMENT ON COLUMN ledger.acknowledgements.run IS 'Of which run';
COMMENT ON COLUMN ledger.acknowledgements.acknowledged_at IS 'When: what began later is another matter';
COMMENT ON COLUMN ledger.acknowledgements.acknowledged_by IS 'Who';
COMMENT ON COLUMN ledger.acknowledgements.reason IS 'Why nobody needs to be paged for it any more, in their words';
GRANT SELECT, INSERT ON ledger.acknowledgements TO stepback_app;
