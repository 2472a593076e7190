"""Round trips of ALTER COLUMN TYPE: values come back as they were, whatever the conversion made of them."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_TABLE = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');"
    "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 7, price numeric(10, 4) NOT NULL CHECK (price > 0), m mood DEFAULT 'ok',"
    ' at timestamptz UNIQUE, s varchar(20) COLLATE "C");'
    "CREATE INDEX t_n ON t (n, price); CREATE INDEX t_s ON t (lower(s)); COMMENT ON INDEX t_n IS 'i'; COMMENT ON COLUMN t.n IS 'n';"
    "CREATE STATISTICS st ON n, price FROM t; ALTER TABLE t ALTER price SET STATISTICS 77;"
    "INSERT INTO t VALUES (1, 1, 1.2345, 'sad', '2024-01-01 10:00+00', 'Abc'), (2, NULL, 99999.9999, NULL, 'infinity', ''),"
    " (3, -5, 0.0001, 'happy', NULL, NULL);"
)
_PRICE, _M, _N = (f"copied table column public.t.{name}" for name in ("price", "m", "n"))

RETYPINGS = (
    Case(
        "the key itself to a narrower integer, where all fit",
        "CREATE TABLE t (id bigint PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2147483647, -32768), (3, NULL)",
        "ALTER TABLE t ALTER id TYPE int, ALTER a TYPE smallint;",
        keeps=("changed table column public.t.a", "changed table column public.t.id"),
        alters=True,
    ),
    Case(
        "timestamps of a table without a key, to those without a zone and back",
        "CREATE TABLE t (a timestamptz, b timestamp); INSERT INTO t VALUES ('2024-03-31 02:30:00.123456+02', '2024-10-27 02:30'), ('infinity', '-infinity'), (NULL, '4713-01-01 BC')",
        "ALTER TABLE t ALTER a TYPE timestamp without time zone; ALTER TABLE t ALTER b TYPE timestamptz;",
        keeps=("changed table column public.t.a", "changed table column public.t.b"),
        alters=True,
    ),
    Case(
        "precision lost",
        _TABLE,
        "ALTER TABLE t ALTER price TYPE numeric(10, 1) USING round(price, 1) + 1;",
        keeps=(_PRICE,),
        alters=True,
    ),
    Case(
        "number to text and back",
        _TABLE,
        "ALTER TABLE t ALTER COLUMN n DROP DEFAULT, ALTER COLUMN n TYPE text USING 'n' || n;",
        keeps=("changed table column public.t.n", _N),
        alters=True,
    ),
    Case(
        "enum swapped for one with fewer labels",
        _TABLE,
        "ALTER TABLE t ALTER m DROP DEFAULT; ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('ok', 'not ok');"
        "ALTER TABLE t ALTER m TYPE mood USING CASE WHEN m = 'ok' THEN 'ok' ELSE 'not ok' END::mood;"
        "ALTER TABLE t ALTER m SET DEFAULT 'ok'; DROP TYPE mood_old;",
        keeps=(
            "changed table column public.t.m",
            "changed type public.mood",
            "created type public.mood",
            _M,
            "changed table column public.t.m",
            "moved type public.mood_old",
        ),
        alters=True,
    ),
    Case(
        "wider key",
        _TABLE + "CREATE TABLE c (t int REFERENCES t)",
        "ALTER TABLE t ALTER id TYPE bigint;",
        keeps=("changed table column public.t.id",),
        alters=True,
    ),
    Case(
        "varchar to text",
        _TABLE,
        "ALTER TABLE t ALTER s TYPE text;",
        keeps=("changed table column public.t.s",),
        alters=True,
    ),
    Case(
        "several things in one ALTER TABLE",
        _TABLE,
        "ALTER TABLE t DROP COLUMN s, ALTER at TYPE date USING at::date, ADD COLUMN extra int, DROP CONSTRAINT t_price_check;",
        keeps=(
            "copied table column public.t.s",
            "defined index public.t_s",
            "defined table constraint t_price_check on public.t",
            "copied table column public.t.at",
            "created table column public.t.extra",
        ),
        alters=True,
    ),
)
