"""Round trips of statements that change rows: what was handed over comes back, through cascades and triggers too."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_SHOP = (
    "CREATE TYPE state AS ENUM ('new', 'old');"
    "CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, tags text[], data json, since timestamptz);"
    "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customer ON DELETE CASCADE"
    " ON UPDATE CASCADE, price numeric(10, 2), twice numeric GENERATED ALWAYS AS (price * 2) STORED, state state DEFAULT 'new');"
    "CREATE TABLE line (orders int REFERENCES orders ON DELETE SET NULL, no int, PRIMARY KEY (no));"
    "INSERT INTO customer SELECT i, 'c' || i, ARRAY['a', NULL, 'b\"'], '{\"b\": 1,  \"a\": 2, \"a\": 3}', '2024-01-01 12:00:00.123456+02'"
    " FROM generate_series(1, 5) AS i; INSERT INTO customer VALUES (6, '', NULL, NULL, 'infinity');"
    "INSERT INTO orders (customer, price) SELECT 1 + i % 5, i FROM generate_series(1, 20) AS i;"
    "INSERT INTO line SELECT i, i FROM generate_series(1, 20) AS i;"
)
_C, _O, _L = "copied rows public.customer", "copied rows public.orders", "copied rows public.line"

ROWS = (
    Case("delete", _SHOP, "DELETE FROM line WHERE no > 5;", keeps=(_L,), alters=True),
    Case("delete through two cascades", _SHOP, "DELETE FROM customer WHERE id < 3;", keeps=(_C, _O, _L), alters=True),
    Case(
        "update, twice",
        _SHOP,
        "UPDATE customer SET name = upper(name), tags = NULL; UPDATE customer SET name = 'same', data = '{}' WHERE id = 1;",
        keeps=(_C, _C),
        alters=True,
    ),
    Case(
        "update of the key, chained and cascaded",
        _SHOP,
        "UPDATE customer SET id = id + 100; UPDATE customer SET id = id - 99 WHERE id < 104;",
        keeps=(_C, _C, _O, _O),
        alters=True,
    ),
    Case("insert", _SHOP, "INSERT INTO customer VALUES (7, 'x'), (8, 'y');", keeps=(_C,), alters=True),
    Case(
        "upsert",
        _SHOP,
        "INSERT INTO customer VALUES (1, 'x'), (9, 'y') ON CONFLICT (id) DO UPDATE SET name = excluded.name;",
        keeps=(_C,),
        alters=True,
    ),
    Case(
        "merge",
        _SHOP,
        "MERGE INTO customer AS c USING (VALUES (1, 'm'), (2, NULL), (99, 'n')) AS v (id, name) ON c.id = v.id"
        " WHEN MATCHED AND v.name IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET name = v.name"
        " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);",
        keeps=(_C, _O, _L),
        alters=True,
    ),
    Case("truncate", _SHOP, "TRUNCATE line;", keeps=(_L,), alters=True),
    Case("truncate of two", _SHOP, "TRUNCATE orders, line;", keeps=(_O, _L), alters=True),
    Case(
        "delete from a table without a key",
        "CREATE TABLE log (at timestamptz DEFAULT now(), what text); INSERT INTO log (what) VALUES ('a'), ('a'), ('b')",
        "DELETE FROM log WHERE what = 'a';",
        keeps=("copied rows public.log",),
        alters=True,
    ),
    Case(
        "writing in a WITH",
        _SHOP,
        "WITH gone AS (DELETE FROM line WHERE no < 3 RETURNING *) UPDATE orders SET price = 0 FROM gone WHERE id = gone.orders;",
        keeps=(_O, _L),
        alters=True,
    ),
    Case(
        "trigger that writes elsewhere",
        _SHOP
        + "CREATE TABLE total (customer int PRIMARY KEY, n int); INSERT INTO total SELECT customer, count(*) FROM orders GROUP BY 1;"
        "CREATE FUNCTION count_orders() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN UPDATE public.total SET n = n - 1 WHERE customer = OLD.customer; RETURN NULL; END$$;"
        "CREATE TRIGGER count_orders AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION count_orders()",
        "DELETE FROM orders WHERE id <= 2;",
        keeps=(_O, _L, "copied rows public.total"),
        alters=True,
    ),
    Case(
        "delete through a view",
        _SHOP + "CREATE VIEW cheap AS SELECT * FROM orders WHERE price < 3",
        "DELETE FROM cheap;",
        keeps=(_O, _L),
        alters=True,
    ),
    Case(
        "values moved to a new column, the old one dropped",
        _SHOP,
        "ALTER TABLE customer ADD COLUMN title text; UPDATE customer SET title = name; ALTER TABLE customer DROP COLUMN name;",
        keeps=(
            "created table column public.customer.title",
            _C,
            "copied table column public.customer.name",
        ),
        keeps_18=("defined table constraint customer_name_not_null on public.customer",),
        alters=True,
    ),
    Case(
        "a block",
        _SHOP,
        "DO $$DECLARE i int; BEGIN FOR i IN 1..3 LOOP DELETE FROM line WHERE no = i; END LOOP; END$$;",
        keeps=(_L,),
        alters=True,
    ),
    Case(
        "a function called in a SELECT",
        _SHOP + "CREATE FUNCTION clean(n int) RETURNS void LANGUAGE sql AS 'DELETE FROM public.line WHERE no > n'",
        "SELECT clean(7);",
        keeps=(_L,),
        alters=True,
    ),
    Case(
        "truncate that restarts a sequence",
        "CREATE TABLE t (id serial PRIMARY KEY, a text); INSERT INTO t (a) VALUES ('x'), ('y')",
        "TRUNCATE t RESTART IDENTITY;",
        keeps=("changed sequence public.t_id_seq", "copied rows public.t"),
        alters=True,
    ),
    Case(
        "setval",
        "CREATE SEQUENCE s; SELECT nextval('s'), nextval('s'), nextval('s')",
        "SELECT setval('s', 100, false);",
        keeps=("changed sequence public.s",),
        alters=True,
    ),
)
