"""Round trips of what is about all rows at once: LOGGED, TRUNCATE … CASCADE, REFRESH, expressions; and settings."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_FAMILY = (
    "CREATE TABLE a (id serial PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
    "CREATE TABLE c (b int REFERENCES b ON DELETE CASCADE, v text) PARTITION BY LIST (v); CREATE TABLE c1 PARTITION OF c DEFAULT;"
    "CREATE TABLE d (id int PRIMARY KEY); INSERT INTO a (n) VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2);"
    "INSERT INTO c VALUES (1, 'x'), (1, 'x'), (2, 'y'); INSERT INTO d VALUES (1);"
)
_GENERATED = (
    "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, g int GENERATED ALWAYS AS (n * 2) STORED CHECK (g > 0));"
    "CREATE INDEX t_g ON t (g); CREATE STATISTICS st ON n, g FROM t; COMMENT ON COLUMN t.g IS 'g'; INSERT INTO t VALUES (1, 1), (2, 5);"
)
_VIEW = (
    "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2);"
    "CREATE MATERIALIZED VIEW m AS SELECT n, count(*) FROM t GROUP BY n; CREATE UNIQUE INDEX m_n ON m (n);"
)

WHOLE_TABLES = (
    Case(
        "logged and unlogged",
        "CREATE TABLE t (id serial PRIMARY KEY, n text); INSERT INTO t (n) VALUES ('a'), ('b'); CREATE UNLOGGED TABLE u (id int UNIQUE);"
        "INSERT INTO u VALUES (1)",
        "ALTER TABLE t SET UNLOGGED; ALTER TABLE u SET LOGGED;",
        keeps=("changed table public.t", "changed table public.u"),
        alters=True,
    ),
    Case(
        "emptied with all that refers to it",
        _FAMILY,
        "TRUNCATE a RESTART IDENTITY CASCADE;",
        keeps=(
            "changed sequence public.a_id_seq",
            "copied rows public.a",
            "copied rows public.b",
            "copied rows public.c1",
        ),
        alters=True,
    ),
    Case(
        "expression of a generated column",
        _GENERATED,
        "ALTER TABLE t ALTER g SET EXPRESSION AS (n + 100);",
        keeps=("changed table column public.t.g",),
        alters=True,
        since=17,
        why="SET EXPRESSION",
    ),
    Case(
        "materialized view refreshed after its table was changed",
        _VIEW,
        "UPDATE t SET n = 7 WHERE id = 2; REFRESH MATERIALIZED VIEW m; ",
        keeps=("copied rows public.t", "copied materialized view public.m"),
        gate="SELECT sum(n) = 8 FROM m",
        alters=True,
    ),
    Case(
        "materialized view emptied, another filled",
        _VIEW + "CREATE MATERIALIZED VIEW e AS SELECT 1 AS x WITH NO DATA",
        "REFRESH MATERIALIZED VIEW m WITH NO DATA; REFRESH MATERIALIZED VIEW e;",
        keeps=("copied materialized view public.m", "changed materialized view public.e"),
        alters=True,
    ),
    Case(
        "materialized view in all other ways",
        _VIEW + "CREATE SCHEMA x",
        "ALTER MATERIALIZED VIEW m RENAME COLUMN n TO k; ALTER MATERIALIZED VIEW m SET (fillfactor = 50);"
        "ALTER MATERIALIZED VIEW m ALTER COLUMN k SET STATISTICS 5; ALTER MATERIALIZED VIEW m CLUSTER ON m_n;"
        "COMMENT ON MATERIALIZED VIEW m IS 'm'; ALTER MATERIALIZED VIEW m RENAME TO mm; ALTER MATERIALIZED VIEW mm SET SCHEMA x;"
        "ALTER MATERIALIZED VIEW x.mm OWNER TO goodbuy_app;",
        keeps=(
            "changed materialized view column public.m.n",
            "changed materialized view public.m",
            "changed materialized view column public.m.k",
            "changed materialized view public.m",
            "changed materialized view public.m",
            "changed materialized view public.m",
            "changed materialized view public.mm",
            "changed materialized view x.mm",
        ),
        alters=True,
    ),
    Case(
        "rule, statistics, schema, view, aggregate, routine, procedure",
        "CREATE TABLE t (id int, n int); CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x; CREATE STATISTICS st ON id, n FROM t;"
        "CREATE SCHEMA x; CREATE VIEW v AS SELECT id FROM t; CREATE AGGREGATE ag (int) (sfunc = int4pl, stype = int);"
        "CREATE PROCEDURE pr(n int) LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION fu() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER RULE r ON t RENAME TO rr; ALTER STATISTICS st SET STATISTICS 50; ALTER STATISTICS st RENAME TO stt;"
        "ALTER SCHEMA x RENAME TO y; ALTER VIEW v ALTER COLUMN id SET DEFAULT 4; ALTER VIEW v SET (security_barrier = true);"
        "ALTER VIEW v RENAME COLUMN id TO idd; ALTER AGGREGATE ag(int) RENAME TO agg; ALTER AGGREGATE agg(int) SET SCHEMA y;"
        "ALTER PROCEDURE pr(int) SET work_mem = '2MB'; ALTER PROCEDURE pr RENAME TO prr; ALTER ROUTINE fu() STABLE; ALTER ROUTINE fu() RENAME TO fuu;",
        keeps=(
            "changed rule r on public.t",
            "changed statistics object public.st",
            "changed statistics object public.st",
            "changed schema x",
            "changed view column public.v.id",
            "changed view public.v",
            "changed view column public.v.id",
            "changed aggregate public.ag(integer)",
            "changed aggregate public.agg(integer)",
            "changed procedure public.pr(integer)",
            "changed procedure public.pr(integer)",
            "changed function public.fu()",
            "changed function public.fu()",
        ),
        alters=True,
    ),
    Case(
        "function granted, commented and dropped",
        "CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION f(int) TO stepback_app",
        "REVOKE ALL ON FUNCTION f(int) FROM stepback_app, PUBLIC; COMMENT ON FUNCTION f(int) IS 'x'; DROP FUNCTION f(int);",
        keeps=(
            "changed function public.f(integer)",
            "changed function public.f(integer)",
            "defined function public.f(integer)",
        ),
        alters=True,
    ),
    Case(
        "constraint deferred",
        _FAMILY,
        "ALTER TABLE b ALTER CONSTRAINT b_a_fkey DEFERRABLE INITIALLY DEFERRED; ALTER TABLE c ALTER CONSTRAINT c_b_fkey DEFERRABLE;",
        keeps=("changed table constraint b_a_fkey on public.b", "changed table constraint c_b_fkey on public.c"),
        alters=True,
    ),
    Case(
        "bodies of functions unchecked, and a limit of time",
        "CREATE TABLE t (id int)",
        "SET check_function_bodies = false; SET LOCAL statement_timeout = '1min'; SET statement_timeout TO 0;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT x FROM nowhere'; DROP TABLE t;",
        keeps=("created function public.f()", "moved table public.t"),
        alters=True,
    ),
)
