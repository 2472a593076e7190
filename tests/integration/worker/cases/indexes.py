"""Round trips of DROP INDEX: an index holds no data, so its definition is all that is kept."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, code text NOT NULL, n int);"
    "INSERT INTO orders SELECT n, 'code ' || n, n % 7 FROM generate_series(1, 40) AS n;"
)

INDEXES = (
    Case(
        "plain",
        f"{_ORDERS} CREATE INDEX by_n ON orders (n, code DESC)",
        "DROP INDEX by_n;",
        keeps=("defined index public.by_n",),
    ),
    Case(
        "several in one statement, one of them absent",
        f"{_ORDERS} CREATE SCHEMA a; CREATE TABLE a.t (id int); CREATE INDEX by_n ON orders (n); CREATE INDEX by_id ON a.t (id)",
        "DROP INDEX IF EXISTS by_n, a.by_id, never_there;",
        keeps=(
            "defined index a.by_id",
            "defined index public.by_n",
        ),
    ),
    Case(
        "unique, with a foreign key on it",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON orders (code); CREATE TABLE lines (code text REFERENCES orders (code));"
        "INSERT INTO lines VALUES ('code 1'), (NULL)",
        "DROP INDEX once CASCADE;",
        keeps=(
            "defined index public.once",
            "defined table constraint lines_code_fkey on public.lines",
        ),
    ),
    Case(
        "partial",
        f"{_ORDERS} CREATE INDEX few ON orders (id) WHERE n > 3 AND code LIKE '%1'",
        "DROP INDEX few;",
        keeps=("defined index public.few",),
    ),
    Case(
        "expression, with a statistics target",
        f"{_ORDERS} CREATE INDEX expr ON orders (lower(code), (n + id), id); ALTER INDEX expr ALTER COLUMN 2 SET STATISTICS 123",
        "DROP INDEX expr;",
        keeps=("defined index public.expr",),
    ),
    Case(
        "with a comment, options and included columns",
        f'{_ORDERS} CREATE UNIQUE INDEX "odd %s name" ON orders (code COLLATE "C" text_pattern_ops) INCLUDE (n)'
        " NULLS NOT DISTINCT WITH (fillfactor = 50, deduplicate_items = off);"
        "COMMENT ON INDEX \"odd %s name\" IS 'it''s 100% odd'",
        'DROP INDEX "odd %s name";',
        keeps=('defined index public."odd %s name"',),
    ),
    Case(
        "clustered on",
        f"{_ORDERS} CREATE INDEX by_n ON orders (n); ALTER TABLE orders CLUSTER ON by_n",
        "DROP INDEX by_n;",
        keeps=("defined index public.by_n",),
    ),
    Case(
        "replica identity",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON orders (code); ALTER TABLE orders REPLICA IDENTITY USING INDEX once",
        "DROP INDEX once;",
        keeps=("defined index public.once",),
    ),
    Case(
        "of another access method",
        f"{_ORDERS} CREATE INDEX h ON orders USING hash (code); CREATE INDEX b ON orders USING brin (id) WITH (pages_per_range = 4)",
        "DROP INDEX h; DROP INDEX b;",
        keeps=(
            "defined index public.b",
            "defined index public.h",
        ),
    ),
    Case(
        "on a function of the application",
        f"{_ORDERS} CREATE FUNCTION norm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';"
        "CREATE INDEX by_norm ON orders (norm(code))",
        "DROP INDEX by_norm;",
        keeps=("defined index public.by_norm",),
    ),
)
