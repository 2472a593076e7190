"""Round trips of statements that change something and remove nothing: what stood before comes back."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text NOT NULL, c text CHECK (c <> ''));"
    "INSERT INTO t VALUES (1, 1, 'x', NULL), (2, NULL, 'y', 'z'); CREATE INDEX t_a ON t (a);"
)
_TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
    "CREATE TRIGGER two BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();"
    "ALTER TABLE t ENABLE ALWAYS TRIGGER two;"
)
_COLUMN_A = "changed table column public.t.a"

ALTERATIONS = (
    Case(
        "default set, dropped, and given to a column without",
        _TABLE,
        "ALTER TABLE t ALTER a SET DEFAULT 8; ALTER TABLE t ALTER a DROP DEFAULT; ALTER TABLE t ALTER c SET DEFAULT 'q';",
        keeps=(_COLUMN_A, _COLUMN_A, "changed table column public.t.c"),
        alters=True,
    ),
    Case(
        "not null dropped and set",
        _TABLE + "UPDATE t SET a = 0 WHERE a IS NULL",
        "ALTER TABLE t ALTER b DROP NOT NULL, ALTER a SET NOT NULL;",
        keeps=(_COLUMN_A, "changed table column public.t.b"),
        keeps_18=("created table constraint t_a_not_null on public.t",),
        alters=True,
    ),
    Case(
        "table renamed, then changed under its new name",
        _TABLE,
        "ALTER TABLE t RENAME TO u; ALTER TABLE u ALTER a DROP DEFAULT; ALTER TABLE u RENAME COLUMN c TO d;",
        keeps=("changed table public.t", "changed table column public.u.a", "changed table column public.u.c"),
        alters=True,
    ),
    Case(
        "names swapped by way of a third",
        "CREATE TABLE a (x int); CREATE TABLE b (y int); INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)",
        "ALTER TABLE a RENAME TO tmp; ALTER TABLE b RENAME TO a; ALTER TABLE tmp RENAME TO b;",
        keeps=("changed table public.a", "changed table public.b", "changed table public.tmp"),
        alters=True,
    ),
    Case(
        "renamed, then dropped under the new name",
        _TABLE,
        "ALTER TABLE t RENAME TO old_t; DROP TABLE old_t;",
        keeps=("changed table public.t", "moved table public.old_t"),
        alters=True,
    ),
    Case(
        "column renamed, then dropped under the new name",
        _TABLE,
        "ALTER TABLE t RENAME a TO z; ALTER TABLE t DROP COLUMN z;",
        keeps=(_COLUMN_A, "copied table column public.t.z", "defined index public.t_a"),
        alters=True,
    ),
    Case(
        "index, constraint and sequence renamed",
        _TABLE + "CREATE SEQUENCE s START 9",
        "ALTER INDEX t_a RENAME TO i; ALTER TABLE t RENAME CONSTRAINT t_c_check TO k; ALTER SEQUENCE s RENAME TO s2;"
        "ALTER INDEX t_pkey RENAME TO pk;",
        keeps=(
            "changed index public.t_a",
            "changed table constraint t_c_check on public.t",
            "changed sequence public.s",
            "changed index public.t_pkey",
        ),
        alters=True,
    ),
    Case(
        "enum type renamed, its name taken by another",
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE p (id int PRIMARY KEY, m mood)",
        "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('c');",
        keeps=("changed type public.mood", "created type public.mood"),
        alters=True,
    ),
    Case(
        "column added",
        _TABLE,
        "ALTER TABLE t ADD COLUMN d int NOT NULL DEFAULT 5;",
        keeps=("created table column public.t.d",),
        alters=True,
    ),
    Case(
        "columns added with everything, one of them serial",
        _TABLE + "CREATE TABLE other (id int PRIMARY KEY);",
        "ALTER TABLE t ADD d int REFERENCES other DEFAULT NULL, ADD e text UNIQUE CHECK (e <> 'q');",
        keeps=(
            "created table column public.t.d",
            "created table column public.t.e",
        ),
        alters=True,
    ),
    Case(
        "constraints added",
        _TABLE + "CREATE TABLE o (id int PRIMARY KEY); CREATE TABLE n (x int)",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (id > 0), ADD CONSTRAINT u UNIQUE (a, b);"
        "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES o (id) NOT VALID; ALTER TABLE n ADD PRIMARY KEY (x);",
        keeps=(
            "created table constraint k on public.t",
            "created table constraint u on public.t",
            "created table constraint fk on public.t",
            "created table constraint n_pkey on public.n",
            "changed table column public.n.x",
        ),
        keeps_18=("created table constraint n_x_not_null on public.n",),
        alters=True,
    ),
    Case(
        "table created, filled from another which is dropped, and given its name",
        _TABLE,
        "CREATE TABLE t2 (id int PRIMARY KEY, a int, extra text DEFAULT 'e'); DROP TABLE t; ALTER TABLE t2 RENAME TO t;"
        "CREATE INDEX t_a ON t (a);",
        keeps=(
            "created table public.t2",
            "moved table public.t",
            "changed table public.t2",
            "created index public.t_a",
        ),
        alters=True,
    ),
    Case(
        "table created as a query",
        _TABLE,
        "CREATE TABLE copy AS SELECT id, b FROM t WHERE a IS NULL; DROP TABLE t;",
        keeps=("created table public.copy", "moved table public.t"),
        alters=True,
    ),
    Case(
        "index, sequence, types and schema created",
        _TABLE,
        "CREATE INDEX ON t (b); CREATE UNIQUE INDEX u ON t (id, a); CREATE TYPE e AS ENUM ('x'); CREATE TYPE c AS (a int, b e);",
        keeps=(
            "created index public.t_b_idx",
            "created index public.u",
            "created type public.e",
            "created type public.c",
        ),
        alters=True,
    ),
    Case(
        "comments on table, column, index, constraint, type",
        _TABLE + "COMMENT ON TABLE t IS 'old'; COMMENT ON COLUMN t.a IS 'it''s'; CREATE TYPE e AS ENUM ('x')",
        "COMMENT ON TABLE t IS 'new'; COMMENT ON COLUMN t.a IS NULL; COMMENT ON INDEX t_a IS 'i';"
        "COMMENT ON CONSTRAINT t_c_check ON t IS 'k'; COMMENT ON TYPE e IS 'e';",
        keeps=(
            "changed table public.t",
            _COLUMN_A,
            "changed index public.t_a",
            "changed table constraint t_c_check on public.t",
            "changed type public.e",
        ),
        alters=True,
    ),
    Case(
        "row security, replica identity, cluster, options",
        _TABLE + "ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = off); ALTER TABLE t CLUSTER ON t_a",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE t REPLICA IDENTITY FULL;"
        "ALTER TABLE t SET WITHOUT CLUSTER; ALTER TABLE t SET (fillfactor = 50), RESET (autovacuum_enabled);"
        "ALTER INDEX t_a SET (fillfactor = 60);",
        keeps=(
            "changed table public.t",
            "changed table public.t",
            "changed table public.t",
            "changed table public.t",
            "changed table public.t",
            "changed table public.t",
            "changed index public.t_a",
        ),
        alters=True,
    ),
    Case(
        "column settings",
        _TABLE + "ALTER TABLE t ALTER b SET STATISTICS 50; ALTER TABLE t ALTER c SET STORAGE EXTERNAL",
        "ALTER TABLE t ALTER b SET STATISTICS 10, ALTER c SET STORAGE PLAIN, ALTER a SET (n_distinct = 5),"
        " ALTER c SET COMPRESSION pglz;",
        keeps=(
            "changed table column public.t.b",
            "changed table column public.t.c",
            _COLUMN_A,
            "changed table column public.t.c",
        ),
        alters=True,
    ),
    Case(
        "moved to another schema",
        _TABLE + "CREATE SCHEMA aside; CREATE TYPE e AS ENUM ('x')",
        "ALTER TABLE t SET SCHEMA aside; ALTER TYPE e SET SCHEMA aside;",
        keeps=("changed table public.t", "changed type public.e"),
        alters=True,
    ),
    Case(
        "constraint validated",
        _TABLE + "ALTER TABLE t ADD CONSTRAINT k CHECK (id < 100) NOT VALID; COMMENT ON CONSTRAINT k ON t IS 'later'",
        "ALTER TABLE t VALIDATE CONSTRAINT k;",
        keeps=("changed table constraint k on public.t",),
        alters=True,
    ),
)

_VIEW = (
    "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE VIEW v AS SELECT id FROM t; GRANT SELECT ON v TO stepback_app;"
)
_FUNCTION = "CREATE FUNCTION f(n int DEFAULT 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT n + 1'; COMMENT ON FUNCTION f IS 'f';"

REDEFINITIONS = (
    Case(
        "view replaced with the same columns",
        _VIEW,
        "CREATE OR REPLACE VIEW v WITH (security_barrier) AS SELECT id FROM t WHERE id > 0;",
        keeps=("changed view public.v",),
        alters=True,
    ),
    Case(
        "view replaced with more columns",
        _VIEW + "COMMENT ON VIEW v IS 'v'",
        "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t;",
        keeps=("changed view public.v",),
        alters=True,
    ),
    Case(
        "view that is not there yet",
        "CREATE TABLE t (id int)",
        "CREATE OR REPLACE VIEW v AS SELECT id FROM t; COMMENT ON VIEW v IS 'new';",
        keeps=("created view public.v", "changed view public.v"),
        alters=True,
    ),
    Case(
        "view dropped and created anew",
        _VIEW,
        "DROP VIEW v; CREATE VIEW v AS SELECT a FROM t;",
        keeps=("defined view public.v", "created view public.v"),
        alters=True,
    ),
    Case(
        "function replaced, altered, renamed",
        _FUNCTION,
        "CREATE OR REPLACE FUNCTION f(n int DEFAULT 1) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 0; END';"
        "ALTER FUNCTION f(int) IMMUTABLE COST 7 SET work_mem = '1MB'; ALTER FUNCTION f(int) RENAME TO g;",
        keeps=("changed function public.f(integer)",) * 3,
        alters=True,
    ),
    Case(
        "function, procedure, trigger created",
        "CREATE TABLE t (id int)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE PROCEDURE p(n int) LANGUAGE sql AS 'SELECT 1'; CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();",
        keeps=(
            "created function public.f()",
            "created procedure public.p(integer)",
            "created trigger tr on public.t",
        ),
        alters=True,
    ),
    Case(
        "trigger replaced, disabled, renamed",
        _TABLE + _TRIGGER,
        "CREATE OR REPLACE TRIGGER one AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f();"
        "ALTER TABLE t DISABLE TRIGGER two; ALTER TRIGGER one ON t RENAME TO three; ALTER TABLE t DISABLE TRIGGER USER;",
        keeps=(
            "changed trigger one on public.t",
            "changed trigger two on public.t",
            "changed trigger one on public.t",
            "changed table public.t",
        ),
        alters=True,
    ),
    Case(
        "policy and rule",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE POLICY p ON t FOR SELECT USING (id > 0); CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x",
        "ALTER POLICY p ON t TO stepback_app USING (id > 1); CREATE POLICY q ON t WITH CHECK (true);"
        "CREATE OR REPLACE RULE r AS ON INSERT TO t DO ALSO NOTIFY y; ALTER TABLE t DISABLE RULE r;",
        keeps=(
            "changed policy p on public.t",
            "created policy q on public.t",
            "changed rule r on public.t",
            "changed rule r on public.t",
        ),
        alters=True,
    ),
    Case(
        "grants on everything",
        _VIEW
        + _FUNCTION
        + "CREATE SEQUENCE s; CREATE SCHEMA x; CREATE TYPE e AS ENUM ('a'); GRANT SELECT (a) ON t TO stepback_app",
        "GRANT ALL ON t, v TO stepback_app WITH GRANT OPTION; REVOKE ALL ON FUNCTION f(int) FROM PUBLIC; REVOKE SELECT (a) ON t FROM stepback_app;"
        "GRANT USAGE ON SEQUENCE s TO PUBLIC; GRANT CREATE ON SCHEMA x TO stepback_app; REVOKE USAGE ON TYPE e FROM PUBLIC;",
        keeps=(
            "changed table public.t",
            "changed view public.v",
            "changed function public.f(integer)",
            "changed table public.t",
            "changed sequence public.s",
            "changed schema x",
            "changed type public.e",
        ),
        alters=True,
    ),
    Case(
        "owners",
        _VIEW + _FUNCTION + "CREATE TYPE e AS ENUM ('a')",
        "ALTER TABLE t OWNER TO goodbuy_app; ALTER VIEW v OWNER TO goodbuy_app; ALTER FUNCTION f(int) OWNER TO goodbuy_app;"
        "ALTER TYPE e OWNER TO goodbuy_app;",
        keeps=(
            "changed table public.t",
            "changed view public.v",
            "changed function public.f(integer)",
            "changed type public.e",
        ),
        alters=True,
    ),
    Case(
        "labels, sequences",
        "CREATE TYPE e AS ENUM ('a', 'b'); CREATE SEQUENCE s START 5 INCREMENT 2 MAXVALUE 99 CYCLE; SELECT nextval('s'), nextval('s')",
        "ALTER TYPE e RENAME VALUE 'a' TO 'z'; ALTER SEQUENCE s INCREMENT 3 NO MAXVALUE CACHE 4 NO CYCLE RESTART 1;",
        keeps=("changed type public.e", "changed sequence public.s"),
        alters=True,
    ),
    Case(
        "a search_path and harmless settings",
        "CREATE SCHEMA x; CREATE TABLE x.t (id int PRIMARY KEY, a int DEFAULT 1); CREATE TABLE t (a int)",
        "SET search_path = x; SET client_min_messages = warning; LOCK TABLE t IN SHARE MODE; ALTER TABLE t ALTER a DROP DEFAULT;"
        "UPDATE t SET a = 1; DROP TABLE t;",
        keeps=("changed table column x.t.a", "moved table x.t"),
        alters=True,
    ),
)
