"""Round trips of DROP FUNCTION and its kin, and of functions that go because something that they use does."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int, what text); INSERT INTO orders VALUES (1, 2, 'a'), (2, NULL, 'b');"
)
_TWICE = "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';"

FUNCTIONS = (
    Case(
        "everything that can be said of one",
        "CREATE FUNCTION f(a int, INOUT b text DEFAULT 'it''s 100%', VARIADIC rest numeric[] DEFAULT '{}') LANGUAGE plpgsql"
        " STABLE STRICT SECURITY DEFINER PARALLEL SAFE COST 77 SET search_path = public, pg_temp SET work_mem = '1MB'"
        " SET TimeZone = 'Europe/Berlin' AS $f$ BEGIN b := $$%s :x \\ $$ || b; END $f$;"
        "COMMENT ON FUNCTION f IS E'it''s\\n100% odd'",
        "DROP FUNCTION f;",
        gate="SELECT to_regproc('f') IS NULL",
        keeps=("defined function public.f(integer,pg_catalog.text,numeric[])",),
    ),
    Case(
        "sets and tables",
        "CREATE FUNCTION f(n int, OUT a int, OUT b text) RETURNS SETOF record ROWS 5 LANGUAGE sql AS 'SELECT 1, ''x''';"
        "CREATE FUNCTION g() RETURNS TABLE (a int, \"B b\" date) ROWS 7 LANGUAGE sql AS 'SELECT 1, CURRENT_DATE'",
        "DROP FUNCTION f(int, OUT int, OUT text), g();",
        keeps=("defined function public.f(integer)", "defined function public.g()"),
    ),
    Case(
        "one of several of a name",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 0'; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION f(text[]) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE FUNCTION f(int, varchar) RETURNS int LANGUAGE sql AS 'SELECT 3'",
        "DROP FUNCTION f(text[]); DROP FUNCTION IF EXISTS f(), f(bigint); DROP ROUTINE f(integer, varchar(9));",
        keeps=(
            "defined function public.f()",
            "defined function public.f(integer,character varying)",
            "defined function public.f(pg_catalog.text[])",
        ),
    ),
    Case(
        "quoted, in another schema, over a type of the application",
        'CREATE SCHEMA a; CREATE TYPE a."Mo od" AS ENUM (\'x\'); CREATE FUNCTION a."F %s f"(a."Mo od", a."Mo od"[]) RETURNS a."Mo od" LANGUAGE sql AS \'SELECT $1\'',
        'DROP FUNCTION IF EXISTS a."F %s f"(a."Mo od", a."Mo od"[]);',
        keeps=('defined function a."F %s f"(a."Mo od",a."Mo od"[])',),
    ),
    Case(
        "grants, and PUBLIC taken out",
        f"{_TWICE} REVOKE ALL ON FUNCTION twice FROM PUBLIC; GRANT EXECUTE ON FUNCTION twice TO stepback_app WITH GRANT OPTION",
        "DROP FUNCTION twice;",
        keeps=("defined function public.twice(integer)",),
    ),
    Case(
        "nobody may run it",
        f"{_TWICE} REVOKE ALL ON FUNCTION twice FROM PUBLIC, goodbuy_app",
        "DROP FUNCTION twice(int);",
        keeps=("defined function public.twice(integer)",),
    ),
    Case(
        "procedures",
        "CREATE PROCEDURE p(a int, OUT b int) LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN b := a; END';"
        "CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; COMMENT ON PROCEDURE p() IS 'two';"
        "GRANT EXECUTE ON PROCEDURE p(int) TO stepback_app",
        "DROP PROCEDURE p(int, int); DROP PROCEDURE p();",
        keeps=("defined procedure public.p()", "defined procedure public.p(integer)"),
    ),
    Case(
        "a body that speaks of what goes with it",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v';"
        "CREATE FUNCTION g() RETURNS bigint LANGUAGE sql AS 'SELECT f() + count(*) FROM public.orders'",
        "DROP FUNCTION f; DROP VIEW v; DROP TABLE orders; DROP FUNCTION g;",
        keeps=(
            "defined function public.f()",
            "defined function public.g()",
            "defined view public.v",
            "moved table public.orders",
        ),
    ),
    Case(
        "bodies that use one another",
        f"{_TWICE} CREATE FUNCTION z(int DEFAULT 3) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT twice($1); END;"
        "CREATE FUNCTION a() RETURNS int RETURN z() + twice(1)",
        "DROP FUNCTION twice CASCADE;",
        accepts=("function public.a()", "function public.z(integer)"),
        keeps=(
            "defined function public.a()",
            "defined function public.twice(integer)",
            "defined function public.z(integer)",
        ),
    ),
    Case(
        "over the row type of a table that goes",
        f"{_ORDERS} CREATE FUNCTION label(orders) RETURNS text LANGUAGE sql AS 'SELECT $1.what';"
        "CREATE FUNCTION every() RETURNS SETOF orders LANGUAGE sql AS 'SELECT * FROM orders';"
        "CREATE FUNCTION any_of(orders[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TABLE orders CASCADE;",
        accepts=(
            "function public.label(public.orders)",
            "function public.every()",
            "function public.any_of(public.orders[])",
        ),
        keeps=(
            "defined function public.every()",
            "defined function public.label(public.orders)",
            "defined function public.any_of(public.orders[])",
            "moved table public.orders",
        ),
    ),
    Case(
        "with a body over a column that goes",
        f"{_ORDERS} CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(n) FROM orders; END",
        "ALTER TABLE orders DROP n CASCADE;",
        accepts=("function public.f()",),
        keeps=("copied table column public.orders.n", "defined function public.f()"),
    ),
    Case(
        "over an enum that goes",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE FUNCTION f(mood, mood[] DEFAULT '{ok}') RETURNS mood LANGUAGE sql AS 'SELECT $1'",
        "DROP TYPE mood CASCADE;",
        accepts=("function public.f(public.mood,public.mood[])",),
        keeps=("defined function public.f(public.mood,public.mood[])", "moved type public.mood"),
    ),
    Case(
        "over the row type of a view that goes",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; CREATE FUNCTION f(v) RETURNS int LANGUAGE sql AS 'SELECT $1.id';"
        "CREATE VIEW w AS SELECT f(v) FROM v",
        "DROP VIEW v CASCADE;",
        accepts=("function public.f(public.v)", "view public.w"),
        keeps=("defined function public.f(public.v)", "defined view public.v", "defined view public.w"),
    ),
    Case(
        "of a trigger",
        f"{_ORDERS} CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 0; RETURN NEW; END';"
        "CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF n ON orders FOR EACH ROW WHEN (NEW.n > 3) EXECUTE FUNCTION touch();"
        "ALTER TABLE orders ENABLE ALWAYS TRIGGER touch; COMMENT ON TRIGGER touch ON orders IS 't'",
        "DROP FUNCTION touch CASCADE;",
        keeps=("defined function public.touch()", "defined trigger touch on public.orders"),
    ),
    Case(
        "of a trigger on a table that goes, without CASCADE",
        f"{_ORDERS} CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
        "DROP TABLE orders; DROP FUNCTION touch();",
        keeps=(
            "defined function public.touch()",
            "defined trigger touch on public.orders",
            "moved table public.orders",
        ),
    ),
    Case(
        "used all over a table that stays",
        f"{_ORDERS} {_TWICE} ALTER TABLE orders ADD CONSTRAINT even CHECK (twice(n) <> 5), ALTER n SET DEFAULT twice(4);"
        "CREATE INDEX by_twice ON orders (twice(n)) WHERE twice(id) > 1; CREATE POLICY few ON orders USING (twice(n) > 0);"
        "CREATE RULE few AS ON DELETE TO orders WHERE twice(OLD.id) = 4 DO INSTEAD NOTHING;"
        "CREATE STATISTICS stats ON (twice(n)), id FROM orders",
        "DROP FUNCTION twice CASCADE;",
        leaves=("orders | n", "n integer"),
        keeps=(
            "defined default value for public.orders.n",
            "defined function public.twice(integer)",
            "defined index public.by_twice",
            "defined policy few on public.orders",
            "defined rule few on public.orders",
            "defined statistics object public.stats",
            "defined table constraint even on public.orders",
        ),
    ),
    Case(
        "used all over a table that goes",
        f"{_ORDERS} {_TWICE} ALTER TABLE orders ADD CONSTRAINT even CHECK (twice(n) <> 5), ALTER n SET DEFAULT twice(4),"
        " ADD CONSTRAINT once EXCLUDE ((twice(id)) WITH =); CREATE INDEX by_twice ON orders (twice(n))",
        "DROP TABLE orders; DROP FUNCTION twice;",
        keeps=(
            "defined default value for public.orders.n",
            "defined function public.twice(integer)",
            "defined index public.by_twice",
            "defined table constraint even on public.orders",
            "defined table constraint once on public.orders",
            "moved table public.orders",
        ),
    ),
    Case(
        "used by an exclusion constraint",
        f"{_ORDERS} {_TWICE} ALTER TABLE orders ADD CONSTRAINT once EXCLUDE ((twice(id)) WITH =)",
        "DROP FUNCTION twice CASCADE;",
        keeps=("defined function public.twice(integer)", "defined table constraint once on public.orders"),
    ),
    Case(
        "used by a generated column",
        f"{_ORDERS} {_TWICE} ALTER TABLE orders ADD double int GENERATED ALWAYS AS (twice(n)) STORED",
        "DROP FUNCTION twice(int) CASCADE;",
        accepts=("table column public.orders.double",),
        keeps=("copied table column public.orders.double", "defined function public.twice(integer)"),
    ),
    Case(
        "default of a column that goes as well",
        f"{_ORDERS} {_TWICE} ALTER TABLE orders ALTER n SET DEFAULT twice(2)",
        "ALTER TABLE orders DROP COLUMN n; DROP FUNCTION twice;",
        keeps=("copied table column public.orders.n", "defined function public.twice(integer)"),
    ),
    Case(
        "used by a view",
        f"{_ORDERS} {_TWICE} CREATE VIEW v AS SELECT twice(n) FROM orders; ALTER VIEW v ALTER twice SET DEFAULT twice(1);"
        "CREATE RULE r AS ON UPDATE TO v WHERE twice(OLD.twice) > 0 DO INSTEAD NOTHING",
        "DROP FUNCTION twice CASCADE;",
        accepts=("view public.v",),
        keeps=(
            "defined default value for public.v.twice",
            "defined function public.twice(integer)",
            "defined rule r on public.v",
            "defined view public.v",
        ),
    ),
    Case(
        "used by a view's default only",
        f"{_ORDERS} {_TWICE} CREATE VIEW v AS SELECT id, n FROM orders; ALTER VIEW v ALTER n SET DEFAULT twice(1)",
        "DROP FUNCTION twice CASCADE;",
        leaves=("public.v | n",),
        keeps=("defined default value for public.v.n", "defined function public.twice(integer)"),
    ),
    Case(
        "aggregates of every sort",
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl, PARALLEL = SAFE,"
        " SSPACE = 16, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = '0', MSSPACE = 8);"
        "CREATE AGGREGATE rows(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = 0);"
        "CREATE AGGREGATE biggest(text) (SFUNC = text_larger, STYPE = text, SORTOP = >);"
        "COMMENT ON AGGREGATE rows(*) IS 'counts'; GRANT EXECUTE ON FUNCTION total(int) TO stepback_app",
        "DROP AGGREGATE total(int), rows(*); DROP ROUTINE biggest;",
        keeps=(
            "defined aggregate public.biggest(pg_catalog.text)",
            "defined aggregate public.rows()",
            "defined aggregate public.total(integer)",
        ),
    ),
    Case(
        "aggregate over ordered sets, with functions of its own that go",
        "CREATE FUNCTION add(int[], int) RETURNS int[] LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2';"
        "CREATE FUNCTION pick(int[], float8, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1[1]';"
        "CREATE AGGREGATE share(float8 ORDER BY int) (SFUNC = add, STYPE = int[], INITCOND = '{}', FINALFUNC = pick,"
        " FINALFUNC_EXTRA, FINALFUNC_MODIFY = READ_ONLY); COMMENT ON AGGREGATE share(float8 ORDER BY int) IS 's';"
        "CREATE VIEW v AS SELECT share(0.5) WITHIN GROUP (ORDER BY n) FROM generate_series(1, 3) AS n",
        "DROP FUNCTION add CASCADE; DROP FUNCTION pick;",
        accepts=("aggregate public.share(double precision,integer)", "view public.v"),
        keeps=(
            "defined aggregate public.share(double precision,integer)",
            "defined function public.add(integer[],integer)",
            "defined function public.pick(integer[],double precision,integer)",
            "defined view public.v",
        ),
    ),
)
