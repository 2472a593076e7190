"""Round trips of materialized views: they move with their rows, whatever their query would say by now."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int); INSERT INTO orders SELECT n, n % 3 FROM generate_series(1, 12) AS n;"
    "CREATE MATERIALIZED VIEW sums AS SELECT n, count(*) AS c FROM orders GROUP BY n;"
)
_SUMS = "moved materialized view public.sums"

MATVIEWS = (
    Case(
        "with indexes, options, comments and rows that are old by now",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON sums (n); CREATE INDEX by_c ON sums (c); COMMENT ON COLUMN sums.c IS 'c'; COMMENT ON INDEX once IS 'i';"
        "ALTER MATERIALIZED VIEW sums SET (fillfactor = 50); ALTER MATERIALIZED VIEW sums CLUSTER ON once; ALTER MATERIALIZED VIEW sums ALTER n SET STATISTICS 7;"
        "COMMENT ON MATERIALIZED VIEW sums IS 'old'; GRANT SELECT ON sums TO stepback_app; DELETE FROM orders WHERE n = 1",
        "DROP MATERIALIZED VIEW sums;",
        gate="SELECT to_regclass('once') IS NULL",
        keeps=(_SUMS,),
    ),
    Case(
        "never filled, and one absent",
        "CREATE TABLE orders (id int); CREATE MATERIALIZED VIEW sums AS SELECT id FROM orders WITH NO DATA; CREATE INDEX i ON sums (id)",
        "DROP MATERIALIZED VIEW IF EXISTS sums, never;",
        keeps=(_SUMS,),
    ),
    Case(
        "made again with an index of the same name, and filled",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON sums (n)",
        "DROP MATERIALIZED VIEW sums; ALTER TABLE orders ADD COLUMN m int;"
        "CREATE MATERIALIZED VIEW sums AS SELECT n, m FROM orders WITH NO DATA;"
        "CREATE INDEX once ON sums (n, m); REFRESH MATERIALIZED VIEW sums;",
        keeps=(
            _SUMS,
            "changed materialized view public.sums",
            *(
                f"created {what}"
                for what in ("table column public.orders.m", "materialized view public.sums", "index public.once")
            ),
        ),
        alters=True,
    ),
    Case(
        "with a column that it reads, one over it, indexes and all that it can have",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON sums (n) WITH (fillfactor = 60); CREATE INDEX by_c ON sums (c); COMMENT ON COLUMN sums.c IS 'c'; COMMENT ON INDEX once IS 'i';"
        "ALTER MATERIALIZED VIEW sums SET (fillfactor = 50); ALTER MATERIALIZED VIEW sums CLUSTER ON once; ALTER MATERIALIZED VIEW sums ALTER n SET STATISTICS 7;"
        "ALTER MATERIALIZED VIEW sums ALTER n SET (n_distinct = 3); COMMENT ON MATERIALIZED VIEW sums IS 'old'; GRANT SELECT ON sums TO stepback_app; GRANT SELECT (n) ON sums TO PUBLIC;"
        "CREATE MATERIALIZED VIEW over AS SELECT max(c) FROM sums WITH NO DATA; CREATE VIEW plain AS SELECT c FROM sums; CREATE STATISTICS st ON n, c FROM sums;",
        "DROP VIEW plain; DROP MATERIALIZED VIEW over, sums; ALTER TABLE orders DROP COLUMN n;",
        keeps=(
            "defined view public.plain",
            "defined statistics object public.st",
            "defined materialized view public.over",
            "defined materialized view public.sums",
            "copied table column public.orders.n",
        ),
    ),
    Case(
        "reached by a column that it reads, accepted",
        _ORDERS,
        "ALTER TABLE orders DROP n CASCADE;",
        accepts=("materialized view public.sums",),
        keeps=("defined materialized view public.sums", "copied table column public.orders.n"),
    ),
    Case(
        "only its indexes, one of them clustered",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON sums (n); CREATE INDEX by_c ON sums (c); ALTER MATERIALIZED VIEW sums CLUSTER ON once; COMMENT ON INDEX by_c IS 'c'",
        "DROP INDEX once, by_c;",
        keeps=("defined index public.by_c", "defined index public.once"),
    ),
    Case(
        "with a column that only a later statement drops",
        _ORDERS,
        "DROP MATERIALIZED VIEW sums; UPDATE orders SET id = id + 100; ALTER TABLE orders DROP COLUMN n;",
        keeps=(
            "defined materialized view public.sums",
            "copied rows public.orders",
            "copied table column public.orders.n",
        ),
        alters=True,
    ),
    Case(
        "made again over a column of another type",
        f"{_ORDERS} CREATE INDEX by_c ON sums (c);",
        "DROP MATERIALIZED VIEW sums; ALTER TABLE orders ALTER n TYPE text;"
        "CREATE MATERIALIZED VIEW sums AS SELECT n, count(*) AS c FROM orders GROUP BY n; CREATE INDEX by_c ON sums (c);",
        keeps=(
            "defined materialized view public.sums",
            "copied table column public.orders.n",
            "created materialized view public.sums",
            "created index public.by_c",
        ),
        alters=True,
    ),
    Case(
        "with the table that it reads, accepted",
        _ORDERS,
        "DROP TABLE orders CASCADE;",
        accepts=("materialized view public.sums",),
        keeps=(_SUMS, "moved table public.orders"),
    ),
    Case(
        "over a materialized view, all named, in two schemas",
        f"CREATE SCHEMA s; {_ORDERS} CREATE MATERIALIZED VIEW s.sums AS SELECT max(c) FROM sums; CREATE STATISTICS st ON n, c FROM sums",
        "DROP MATERIALIZED VIEW s.sums, sums; DROP TABLE orders;",
        keeps=(
            "defined statistics object public.st",
            "moved materialized view s.sums",
            _SUMS,
            "moved table public.orders",
        ),
    ),
    Case(
        "of a partitioned table and a type that go too",
        "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE orders (id int, m mood) PARTITION BY LIST (m); CREATE TABLE oks PARTITION OF orders FOR VALUES IN ('ok');"
        "INSERT INTO orders VALUES (1, 'ok'); CREATE MATERIALIZED VIEW sums AS SELECT m, 'ok'::mood AS lit FROM orders",
        "DROP TABLE orders CASCADE; DROP TYPE mood CASCADE;",
        accepts=("materialized view public.sums", "table public.oks"),
        keeps=(_SUMS, "moved table public.oks", "moved table public.orders", "moved type public.mood"),
    ),
)
