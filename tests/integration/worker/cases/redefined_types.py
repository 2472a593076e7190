"""Round trips of ALTER DOMAIN and of attributes of composite types."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_DOMAIN = (
    "CREATE DOMAIN d AS int DEFAULT 7 CONSTRAINT small CHECK (VALUE < 100); COMMENT ON CONSTRAINT small ON DOMAIN d IS 's';"
    "CREATE TABLE t (id int PRIMARY KEY, v d); INSERT INTO t VALUES (1, 5), (2, 99);"
)
_TYPE = "CREATE TYPE c AS (a int, b text COLLATE \"C\", z numeric(5, 2)); COMMENT ON COLUMN c.b IS 'b';"
_D, _C = "changed type public.d", "changed type public.c"

REDEFINED_TYPES = (
    Case(
        "default of a domain set and dropped",
        _DOMAIN,
        "ALTER DOMAIN d SET DEFAULT 8; ALTER DOMAIN d DROP DEFAULT;",
        keeps=(_D, _D),
        alters=True,
    ),
    Case(
        "not null of a domain set",
        _DOMAIN,
        "ALTER DOMAIN d SET NOT NULL;",
        keeps=(_D,),
        keeps_18=("created domain constraint d_not_null on public.d",),
        alters=True,
    ),
    Case(
        "not null of a domain dropped",
        _DOMAIN + "ALTER DOMAIN d SET NOT NULL",
        "ALTER DOMAIN d DROP NOT NULL;",
        keeps=(_D,),
        alters=True,
    ),
    Case(
        "constraints of a domain added, dropped, renamed, commented",
        _DOMAIN + "ALTER DOMAIN d ADD CONSTRAINT other CHECK (VALUE <> 3)",
        "ALTER DOMAIN d ADD CONSTRAINT big CHECK (VALUE > 0) NOT VALID; ALTER DOMAIN d RENAME CONSTRAINT small TO tiny;"
        "COMMENT ON CONSTRAINT tiny ON DOMAIN d IS 't'; ALTER DOMAIN d DROP CONSTRAINT other; ALTER DOMAIN d ADD CHECK (VALUE <> 4);",
        keeps=(
            "created domain constraint big on public.d",
            "changed domain constraint small on public.d",
            "changed domain constraint tiny on public.d",
            "defined domain constraint other on public.d",
            "created domain constraint d_check on public.d",
        ),
        alters=True,
    ),
    Case(
        "constraint of a domain dropped",
        _DOMAIN,
        "ALTER DOMAIN d DROP CONSTRAINT IF EXISTS none; ALTER DOMAIN d DROP CONSTRAINT small CASCADE;",
        keeps=("defined domain constraint small on public.d",),
        alters=True,
    ),
    Case(
        "constraint of a domain validated",
        _DOMAIN
        + "ALTER DOMAIN d ADD CONSTRAINT big CHECK (VALUE > 0) NOT VALID; COMMENT ON CONSTRAINT big ON DOMAIN d IS 'later'",
        "ALTER DOMAIN d VALIDATE CONSTRAINT big;",
        keeps=("changed domain constraint big on public.d",),
        alters=True,
    ),
    Case(
        "attributes added, dropped, of another type",
        _TYPE,
        "ALTER TYPE c ADD ATTRIBUTE n int, DROP ATTRIBUTE b, ALTER ATTRIBUTE z TYPE int;",
        keeps=(_C,),
        alters=True,
    ),
    Case(
        "attribute dropped that a function needs not",
        _TYPE + "CREATE FUNCTION f(c) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TYPE c DROP ATTRIBUTE IF EXISTS none, DROP ATTRIBUTE a;",
        keeps=(_C,),
        alters=True,
    ),
    Case(
        "attribute renamed and commented, values of the type in a table",
        _TYPE + "CREATE TABLE h (v c); INSERT INTO h VALUES (ROW(1, 'x', 2.5))",
        "ALTER TYPE c RENAME ATTRIBUTE a TO q; COMMENT ON COLUMN c.q IS 'q'; ALTER TYPE c RENAME TO cc;",
        keeps=("changed composite type column public.c.a", "changed composite type column public.c.q", _C),
        alters=True,
    ),
)
