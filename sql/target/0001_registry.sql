-- Effect: creates public.migration_rollbacks, the registry of plans, or completes one that is there already.
--         Existing rows are kept as they are; rows written before carry no recorded role.
-- Locks:  ACCESS EXCLUSIVE on public.migration_rollbacks, for milliseconds (no rewrite, no scan).
-- Transactional: yes. May be run any number of times.
-- Verified by: tests/integration/worker/test_install.py

CREATE TABLE IF NOT EXISTS public.migration_rollbacks (
    id                  serial PRIMARY KEY,
    migration_name      varchar(255) NOT NULL,
    applied_at          timestamp DEFAULT CURRENT_TIMESTAMP,
    rollback_sql        text NOT NULL,
    rollback_applied_at timestamp,
    rollback_status     varchar(50) DEFAULT 'pending',
    rollback_notes      text,
    created_by          varchar(100) DEFAULT CURRENT_USER
);

ALTER TABLE public.migration_rollbacks
    ADD COLUMN IF NOT EXISTS plan_sha256 text,
    ADD COLUMN IF NOT EXISTS recorded_by name,
    ADD COLUMN IF NOT EXISTS run bigint;

CREATE INDEX IF NOT EXISTS migration_rollbacks_name_idx ON public.migration_rollbacks (migration_name, id DESC);

COMMENT ON TABLE public.migration_rollbacks IS 'Registry of plans: what undoes each migration, and where its rollback stands';
COMMENT ON COLUMN public.migration_rollbacks.rollback_status IS 'pending, in_progress, completed, failed or recovered';
COMMENT ON COLUMN public.migration_rollbacks.plan_sha256 IS 'SHA-256 of the plan folder as registered; NULL for a row written by hand';
COMMENT ON COLUMN public.migration_rollbacks.recorded_by IS 'The role that wrote the plan, as the database saw it; whatever a writer puts here is replaced';
COMMENT ON COLUMN public.migration_rollbacks.run IS 'The Stepback run that last changed the status';

-- A plan in the registry is only as trustworthy as whoever wrote it, so the database notes the role itself.
-- SECURITY INVOKER on purpose: current_user must be the writer.
CREATE OR REPLACE FUNCTION public.migration_rollbacks_record_writer() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT'
       OR NEW.rollback_sql IS DISTINCT FROM OLD.rollback_sql
       OR NEW.migration_name IS DISTINCT FROM OLD.migration_name
       OR NEW.plan_sha256 IS DISTINCT FROM OLD.plan_sha256 THEN
        NEW.recorded_by := current_user;
    ELSE
        NEW.recorded_by := OLD.recorded_by;
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER migration_rollbacks_record_writer
    BEFORE INSERT OR UPDATE ON public.migration_rollbacks
    FOR EACH ROW EXECUTE FUNCTION public.migration_rollbacks_record_writer();
ALTER TABLE public.migration_rollbacks ENABLE ALWAYS TRIGGER migration_rollbacks_record_writer;

-- Migrations write their plan themselves, as the role that owns the database. What a row may do is decided by the
-- rights of its writer when it is run, so more roles may be given INSERT without giving them anything to drop.
GRANT SELECT, INSERT ON public.migration_rollbacks TO pg_database_owner;
GRANT USAGE ON SEQUENCE public.migration_rollbacks_id_seq TO pg_database_owner;
