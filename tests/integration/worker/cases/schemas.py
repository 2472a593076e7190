"""Round trips of schemas: empty, and with everything in them, each thing kept by its own kind."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

SCHEMAS = (
    Case(
        "empty, with privileges and a comment",
        "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC; GRANT ALL ON SCHEMA app TO stepback_app WITH GRANT OPTION;"
        "REVOKE CREATE ON SCHEMA app FROM goodbuy_app; COMMENT ON SCHEMA app IS 'it''s %s'",
        "DROP SCHEMA app;",
        gate="SELECT to_regnamespace('app') IS NULL",
        keeps=("defined schema app",),
    ),
    Case(
        "empty, with an unusual name, and one absent",
        'CREATE SCHEMA "A p""p %s"',
        'DROP SCHEMA IF EXISTS "A p""p %s", never;',
        keeps=('defined schema "A p""p %s"',),
    ),
    Case(
        "with a bit of everything",
        "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('ok'); CREATE DOMAIN app.pc AS int CHECK (VALUE > 0); CREATE TYPE app.pair AS (a app.mood, b int);"
        "CREATE TABLE app.orders (id serial PRIMARY KEY, m app.mood, p app.pc, pr app.pair); CREATE SEQUENCE app.free START 9; CREATE INDEX i ON app.orders (m);"
        "CREATE MATERIALIZED VIEW app.sums AS SELECT count(*) FROM app.orders; CREATE TYPE app.span AS RANGE (subtype = int4);"
        "CREATE TABLE app.parts (id int) PARTITION BY HASH (id); CREATE TABLE app.part PARTITION OF app.parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);"
        "INSERT INTO app.orders (m, p, pr) VALUES ('ok', 1, ROW('ok', 1)); INSERT INTO app.parts VALUES (1), (2)",
        "DROP SCHEMA app CASCADE;",
        keeps=(
            "defined schema app",
            "defined type app.span",
            "moved type app.pair",
            "moved materialized view app.sums",
            "moved sequence app.free",
            "moved table app.orders",
            "moved table app.part",
            "moved table app.parts",
            "moved type app.mood",
            "moved type app.pc",
        ),
    ),
    Case(
        "with ties to what is outside",
        "CREATE SCHEMA app; CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1); CREATE TYPE app.mood AS ENUM ('ok');"
        "CREATE TABLE app.orders (id int PRIMARY KEY, u int REFERENCES users); CREATE TABLE lines (id int PRIMARY KEY, o int REFERENCES app.orders, m app.mood);"
        "CREATE SEQUENCE app.free; ALTER TABLE lines ADD n int DEFAULT nextval('app.free'); CREATE STATISTICS app.st ON id, o FROM lines;"
        "INSERT INTO app.orders VALUES (1, 1); INSERT INTO lines VALUES (1, 1, 'ok')",
        "DROP SCHEMA app CASCADE;",
        accepts=("table column public.lines.m",),
        leaves=("lines | n", "n integer"),
        keeps=(
            "copied table column public.lines.m",
            "defined default value for public.lines.n",
            "defined schema app",
            "defined statistics object app.st",
            "defined table constraint lines_o_fkey on public.lines",
            "defined table constraint orders_u_fkey on app.orders",
            "moved sequence app.free",
            "moved table app.orders",
            "moved type app.mood",
        ),
    ),
    Case(
        "two at once, with a partition and a child of survivors",
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE a.one PARTITION OF parts FOR VALUES IN (1);"
        "CREATE TABLE two PARTITION OF parts FOR VALUES IN (2); CREATE TABLE people (id int); CREATE TABLE b.staff () INHERITS (people);"
        "INSERT INTO parts VALUES (1), (2); INSERT INTO b.staff VALUES (5)",
        "DROP SCHEMA a, b CASCADE;",
        keeps=(
            "defined inheritance b.staff of public.people",
            "defined partition a.one of public.parts",
            "defined schema a",
            "defined schema b",
            "moved table a.one",
            "moved table b.staff",
        ),
    ),
    Case(
        "with its contents named one by one",
        "CREATE SCHEMA app; CREATE TABLE app.orders (id int PRIMARY KEY); INSERT INTO app.orders VALUES (1)",
        "DROP TABLE app.orders; DROP SCHEMA app;",
        keeps=("defined schema app", "moved table app.orders"),
    ),
)
