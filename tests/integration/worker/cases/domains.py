"""Round trips of domains and ranges: the type moves, columns of survivors that are of it are copied first."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_PERCENT = (
    "CREATE DOMAIN percent AS int DEFAULT 5 CONSTRAINT low CHECK (VALUE >= 0) CONSTRAINT high CHECK (VALUE <= 100);"
)

DOMAINS = (
    Case(
        "domain with constraints, comments and privileges",
        f"{_PERCENT} COMMENT ON DOMAIN percent IS 'it''s'; COMMENT ON CONSTRAINT low ON DOMAIN percent IS 'low';"
        "GRANT USAGE ON TYPE percent TO stepback_app; ALTER DOMAIN percent ADD CONSTRAINT later CHECK (VALUE <> 7) NOT VALID",
        "DROP DOMAIN percent;",
        gate="SELECT to_regtype('percent') IS NULL",
        keeps=("moved type public.percent",),
    ),
    Case(
        "domain that is NOT NULL, with a collation, by DROP TYPE",
        "CREATE DOMAIN code AS varchar(7) COLLATE \"C\" NOT NULL DEFAULT 'x'",
        "DROP TYPE code;",
        keeps=("moved type public.code",),
    ),
    Case(
        "domain in columns of a survivor",
        f"{_PERCENT} CREATE TABLE orders (id int PRIMARY KEY, p percent, ps percent[]); INSERT INTO orders VALUES (1, 7, '{{1,2}}'), (2, NULL, NULL)",
        "DROP DOMAIN percent CASCADE;",
        accepts=("table column public.orders.p", "table column public.orders.ps"),
        keeps=(
            "copied table column public.orders.p",
            "copied table column public.orders.ps",
            "moved type public.percent",
        ),
    ),
    Case(
        "domain with the table that uses it",
        f"{_PERCENT} CREATE TABLE orders (id int PRIMARY KEY, p percent NOT NULL); INSERT INTO orders VALUES (1, 7)",
        "DROP TABLE orders; DROP DOMAIN percent;",
        keeps=("moved table public.orders", "moved type public.percent"),
    ),
    Case(
        "domain over a domain, both named",
        f"{_PERCENT} CREATE DOMAIN half AS percent CHECK (VALUE <= 50)",
        "DROP DOMAIN percent, half;",
        keeps=("moved type public.half", "moved type public.percent"),
    ),
    Case(
        "domain over a domain, accepted, with a column",
        f"{_PERCENT} CREATE DOMAIN half AS percent CHECK (VALUE <= 50); CREATE TABLE orders (id int PRIMARY KEY, h half); INSERT INTO orders VALUES (1, 9)",
        "DROP DOMAIN percent CASCADE;",
        accepts=("type public.half", "table column public.orders.h"),
        keeps=("copied table column public.orders.h", "moved type public.half", "moved type public.percent"),
    ),
    Case(
        "domain over an enum",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN good AS mood CHECK (VALUE <> 'sad')",
        "DROP TYPE mood CASCADE;",
        accepts=("type public.good",),
        keeps=("moved type public.good", "moved type public.mood"),
    ),
    Case(
        "range with its multirange and constructors",
        "CREATE SCHEMA s; CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = s.spans);"
        "COMMENT ON TYPE span IS 'span'; GRANT USAGE ON TYPE span TO stepback_app",
        "DROP TYPE span;",
        gate="SELECT to_regtype('s.spans') IS NULL AND to_regprocedure('span(float8, float8)') IS NULL",
        keeps=("defined type public.span",),
    ),
    Case(
        "range with a collation, in a default and an index of a survivor",
        "CREATE TYPE span AS RANGE (subtype = text, collation = \"C\"); CREATE TABLE orders (id int PRIMARY KEY, t text DEFAULT (span('a', 'b'))::text);"
        "CREATE INDEX by_t ON orders (t) WHERE id > 0; INSERT INTO orders VALUES (1, '[a,c)')",
        "DROP TYPE span CASCADE;",
        leaves=("orders | t", "t text"),
        keeps=("defined default value for public.orders.t", "defined type public.span"),
    ),
    Case(
        "range over an enum, both named",
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE moods AS RANGE (subtype = mood)",
        "DROP TYPE moods, mood;",
        keeps=("defined type public.moods", "moved type public.mood"),
    ),
)
