"""Round trips of scripts whose statements get in each other's way: found by made-up ones (test_properties.py)."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_T = "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y');"
_VIEW = _T + "CREATE VIEW v AS SELECT id FROM t; GRANT SELECT ON v TO PUBLIC;"
_ROWS, _RETYPED = "copied rows public.t", "copied table column public.t.a"

SCRIPTS = (
    Case(
        "rows deleted, then the table dropped",
        _T,
        "DELETE FROM t WHERE id = 1; DROP TABLE t;",
        keeps=(_ROWS, "moved table public.t"),
        alters=True,
    ),
    Case(
        "rows changed, then the table renamed",
        _T,
        "UPDATE t SET a = 5; ALTER TABLE t RENAME TO u;",
        keeps=(_ROWS, "changed table public.t"),
        alters=True,
    ),
    Case(
        "rows of two tables changed, then their names swapped",
        _T + "CREATE TABLE s (id int PRIMARY KEY, a int, b text); INSERT INTO s VALUES (1, 9, 'n')",
        "UPDATE t SET a = 5; UPDATE s SET a = 6; ALTER TABLE t RENAME TO u; ALTER TABLE s RENAME TO t; ALTER TABLE u RENAME TO s;",
        keeps=(_ROWS, "copied rows public.s", *(f"changed table public.{name}" for name in "tsu")),
        alters=True,
    ),
    Case(
        "table emptied, then taken to another schema",
        "CREATE SCHEMA other;" + _T,
        "TRUNCATE t; ALTER TABLE t SET SCHEMA other;",
        keeps=(_ROWS, "changed table public.t"),
        alters=True,
    ),
    Case(
        "table and sequence of a schema whose name must be quoted, renamed and taken away",
        'CREATE SCHEMA "Odd One"; CREATE TABLE "Odd One".t (id int PRIMARY KEY); CREATE SEQUENCE "Odd One".s;',
        'ALTER TABLE "Odd One".t RENAME TO u; ALTER TABLE "Odd One".u SET SCHEMA public; ALTER SEQUENCE "Odd One".s RENAME TO r;',
        keeps=('changed table "Odd One".t', 'changed table "Odd One".u', 'changed sequence "Odd One".s'),
        alters=True,
    ),
    Case(
        "table with a foreign key renamed, then dropped",
        _T + "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (1, 2)",
        "ALTER TABLE c RENAME TO d; DROP TABLE d;",
        keeps=("changed table public.c", "defined table constraint c_t_fkey on public.d", "moved table public.d"),
        alters=True,
    ),
    Case(
        "type changed, then the table renamed",
        _T,
        "ALTER TABLE t ALTER a TYPE text; ALTER TABLE t RENAME TO u;",
        keeps=(_RETYPED, "changed table public.t"),
        alters=True,
    ),
    Case(
        "type changed, then a constraint dropped that the server made again for it",
        _T + "ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NOT NULL)",
        "ALTER TABLE t ALTER a TYPE text; ALTER TABLE t DROP CONSTRAINT k;",
        keeps=(_RETYPED, "defined table constraint k on public.t"),
        alters=True,
    ),
    Case(
        "type changed, then the table emptied by a block",
        _T,
        "ALTER TABLE t ALTER a TYPE text; DO $$BEGIN TRUNCATE t; END$$;",
        keeps=(_RETYPED, _ROWS),
        alters=True,
    ),
    Case(
        "table emptied by a block that does not say so, after it was written anew",
        _T,
        "ALTER TABLE t ALTER a TYPE text; DO $$BEGIN EXECUTE 'TRUNCATE ' || chr(116); END$$;",
        keeps=(_RETYPED, _ROWS),
        alters=True,
    ),
    Case(
        "table emptied by a trigger of another that does not say so, after it was written anew",
        _T
        + "CREATE TABLE o (id int PRIMARY KEY); INSERT INTO o VALUES (1); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql"
        " AS $$BEGIN EXECUTE 'TRUNCATE ' || chr(116); RETURN NULL; END$$; CREATE TRIGGER g AFTER DELETE ON o EXECUTE FUNCTION f()",
        "ALTER TABLE t ALTER a TYPE text; DELETE FROM o;",
        keeps=(_RETYPED, _ROWS, "copied rows public.o"),
        alters=True,
    ),
    Case(
        "table emptied and filled twice by a block",
        _T,
        "DO $$BEGIN TRUNCATE t; INSERT INTO t VALUES (1, 5, 'n'); TRUNCATE t; INSERT INTO t VALUES (2, 6, 'm'); END$$;",
        keeps=(_ROWS,),
        alters=True,
    ),
    Case(
        "index dropped, and a constraint made that needs its name",
        _T + "CREATE UNIQUE INDEX t_b_key ON t (b)",
        "DROP INDEX t_b_key; ALTER TABLE t ADD CONSTRAINT t_b_key UNIQUE (b);",
        keeps=("defined index public.t_b_key", "created table constraint t_b_key on public.t"),
        alters=True,
    ),
    Case(
        "table dropped, and another made whose key and sequence have the names of its own",
        "CREATE TABLE t (id serial PRIMARY KEY, a int); INSERT INTO t (a) VALUES (1), (2)",
        "DROP TABLE t; CREATE TABLE t (id serial PRIMARY KEY, b text);",
        keeps=("moved table public.t", "created table public.t"),
        alters=True,
    ),
    Case(
        "column dropped, and another of its name made with an index of the same name",
        _T + "CREATE INDEX t_b ON t (b)",
        "ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b int; CREATE INDEX t_b ON t (b);",
        keeps=(
            "copied table column public.t.b",
            "defined index public.t_b",
            "created table column public.t.b",
            "created index public.t_b",
        ),
        alters=True,
    ),
    Case(
        "column dropped, then the key renamed that its values are kept by",
        _T,
        "ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME id TO key;",
        keeps=("copied table column public.t.b", "changed table column public.t.id"),
        alters=True,
    ),
    Case(
        "table written anew, with a column that older rows have only in the catalog",
        _T + "ALTER TABLE t ADD c int NOT NULL DEFAULT 5; INSERT INTO t VALUES (3, 3, 'z', 6)",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD COLUMN n serial PRIMARY KEY;",
        keeps=(
            "defined table constraint t_pkey on public.t",
            "created table column public.t.n",
        ),
        alters=True,
    ),
    Case(
        "view replaced by a wider one, then dropped",
        _VIEW,
        "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t; DROP VIEW v;",
        keeps=("changed view public.v", "defined view public.v"),
        alters=True,
    ),
    Case(
        "function replaced, then dropped with the default that uses it",
        _T + "CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql RETURN n; ALTER TABLE t ALTER a SET DEFAULT f(3)",
        "CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql RETURN n + 1; DROP FUNCTION f CASCADE;",
        keeps=(
            "changed function public.f(integer)",
            "defined default value for public.t.a",
            "defined function public.f(integer)",
        ),
        alters=True,
    ),
    Case(
        "function made beside one of its name, then that one dropped",
        "CREATE FUNCTION f(n text) RETURNS text LANGUAGE sql RETURN n",
        "CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql RETURN n; DROP FUNCTION f(text);",
        keeps=("created function public.f(integer)", "defined function public.f(pg_catalog.text)"),
        alters=True,
    ),
    *(
        Case(
            f"column added, {what}",
            _T,
            f"ALTER TABLE t ADD COLUMN z {column};",
            keeps=("created table column public.t.z",),
            alters=True,
        )
        for what, column in {
            "identity": "int GENERATED ALWAYS AS IDENTITY",
            "generated": "int GENERATED ALWAYS AS (a + 1) STORED",
            "serial": "serial",
        }.items()
    ),
    Case(
        "column with long values added to a table without any",
        "CREATE TABLE n (id int PRIMARY KEY); INSERT INTO n VALUES (1)",
        "ALTER TABLE n ADD COLUMN z text; ALTER TABLE n RENAME TO m;",
        keeps=("created table column public.n.z", "changed table public.n"),
        alters=True,
    ),
    Case(
        "parent and child published, both dropped",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c () INHERITS (p); INSERT INTO c VALUES (1); CREATE PUBLICATION pub FOR TABLE p",
        "DROP TABLE p, c;",
        keeps=(
            "moved table public.p",
            "moved table public.c",
            "defined publication relation public.p in publication pub",
            "defined publication relation public.c in publication pub",
        ),
        leaves=("publication",),
    ),
    Case(
        "partitioned table emptied, its sequence begun again",
        "CREATE TABLE p (id int, n serial, PRIMARY KEY (id)) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1), (2)",
        "TRUNCATE p RESTART IDENTITY;",
        keeps=("copied rows public.p1", "changed sequence public.p_n_seq"),
        alters=True,
    ),
)
