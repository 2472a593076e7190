"""Round trips of DROP VIEW, and of views that go because something that they look at does."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int, what text);"
    "INSERT INTO orders SELECT n, n % 3, 'thing ' || n FROM generate_series(1, 9) AS n;"
)

VIEWS = (
    Case(
        "plain, with a comment on it and its columns",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n + 1 AS next, what FROM orders WHERE n > 0 ORDER BY id;"
        "COMMENT ON VIEW v IS E'it''s $$ a\\nview'; COMMENT ON COLUMN v.next IS '100% %s';"
        "COMMENT ON RULE \"_RETURN\" ON v IS 'query'; COMMENT ON TYPE v IS 'row'",
        "DROP VIEW v;",
        gate="SELECT to_regclass('v') IS NULL",
        keeps=("defined view public.v",),
    ),
    Case(
        "several, one absent, one quoted, one in another schema",
        f"{_ORDERS} CREATE SCHEMA a; CREATE VIEW a.v AS SELECT id FROM orders; CREATE VIEW v AS SELECT n FROM orders;"
        'CREATE VIEW "Odd %s ""name" AS SELECT what AS "Odd %s col" FROM orders',
        'DROP VIEW IF EXISTS a.v, "Odd %s ""name", never_there;',
        keeps=(
            'defined view public."Odd %s ""name"',
            "defined view a.v",
        ),
    ),
    Case(
        "renamed columns, constants, types with modifiers and collations",
        "CREATE VIEW v (a, b, c, d, e) AS SELECT 'x', NULL, 1.50::numeric(5, 2), 'y'::varchar(3) COLLATE \"C\", '{1}'::int[];"
        'ALTER VIEW v RENAME COLUMN a TO "A A"',
        "DROP VIEW v;",
        keeps=("defined view public.v",),
    ),
    Case(
        "options",
        f"{_ORDERS} CREATE VIEW v WITH (security_barrier, security_invoker = on) AS SELECT id FROM orders WHERE n > 0"
        " WITH LOCAL CHECK OPTION; CREATE VIEW w AS SELECT id FROM v WHERE id > 1 WITH CASCADED CHECK OPTION",
        "DROP VIEW w, v;",
        keeps=(
            "defined view public.v",
            "defined view public.w",
        ),
    ),
    Case(
        "recursive",
        "CREATE RECURSIVE VIEW countdown (n) AS VALUES (5) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0",
        "DROP VIEW countdown;",
        keeps=("defined view public.countdown",),
    ),
    Case(
        "grants, with columns, grant options and the owner's own",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n, what FROM orders; GRANT SELECT ON v TO PUBLIC;"
        "GRANT INSERT, SELECT ON v TO stepback_app WITH GRANT OPTION; GRANT UPDATE (n, what), SELECT (id) ON v TO stepback_app;"
        "GRANT UPDATE (id) ON v TO PUBLIC; REVOKE DELETE, TRUNCATE ON v FROM goodbuy_app",
        "DROP VIEW v;",
        keeps=("defined view public.v",),
    ),
    Case(
        "everything revoked, even from the owner",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; REVOKE ALL ON v FROM goodbuy_app",
        "DROP VIEW v;",
        keeps=("defined view public.v",),
    ),
    Case(
        "an explicit default is not the same as none",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; GRANT SELECT ON v TO stepback_app;"
        "REVOKE ALL ON v FROM stepback_app",
        "DROP VIEW v;",
        keeps=("defined view public.v",),
    ),
    Case(
        "column defaults, one on a sequence",
        f"{_ORDERS} CREATE SEQUENCE s; CREATE VIEW v AS SELECT id, n, what FROM orders;"
        "ALTER VIEW v ALTER COLUMN id SET DEFAULT nextval('s'); ALTER VIEW v ALTER what SET DEFAULT 'it''s 100%'",
        "DROP VIEW v;",
        keeps=(
            "defined default value for public.v.id",
            "defined default value for public.v.what",
            "defined view public.v",
        ),
    ),
    Case(
        "INSTEAD OF triggers",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n FROM orders;"
        "CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER put INSTEAD OF INSERT OR UPDATE ON v FOR EACH ROW EXECUTE FUNCTION put('a', 'b''c');"
        "CREATE TRIGGER once AFTER DELETE ON v EXECUTE FUNCTION put(); COMMENT ON TRIGGER put ON v IS 'puts'",
        "DROP VIEW v;",
        keeps=(
            "defined trigger once on public.v",
            "defined trigger put on public.v",
            "defined view public.v",
        ),
    ),
    Case(
        "rules",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n FROM orders;"
        "CREATE RULE put AS ON INSERT TO v DO INSTEAD INSERT INTO orders (id, n) VALUES (NEW.id, NEW.n) RETURNING id, n;"
        "CREATE RULE never AS ON DELETE TO v WHERE OLD.n > 1 DO INSTEAD NOTHING; COMMENT ON RULE put ON v IS 'puts'",
        "DROP VIEW v;",
        keeps=(
            "defined rule never on public.v",
            "defined rule put on public.v",
            "defined view public.v",
        ),
    ),
    Case(
        "views on a view, named in no order",
        f"{_ORDERS} CREATE VIEW z AS SELECT id, n FROM orders; CREATE VIEW m AS SELECT id FROM z; CREATE VIEW a AS SELECT m.id FROM m JOIN z USING (id)",
        "DROP VIEW m, a, z;",
        keeps=(
            "defined view public.a",
            "defined view public.m",
            "defined view public.z",
        ),
    ),
    Case(
        "views on a view, accepted",
        f"{_ORDERS} CREATE VIEW z AS SELECT id, n FROM orders; CREATE VIEW m AS SELECT id FROM z; CREATE VIEW a AS SELECT m.id FROM m JOIN z USING (id)",
        "DROP VIEW z CASCADE;",
        accepts=("view public.m", "view public.a"),
        keeps=(
            "defined view public.a",
            "defined view public.m",
            "defined view public.z",
        ),
    ),
    Case(
        "on a table that goes, both named",
        f"{_ORDERS} CREATE VIEW v AS SELECT * FROM orders",
        "DROP VIEW v; DROP TABLE orders;",
        keeps=("defined view public.v", "moved table public.orders"),
    ),
    Case(
        "on a table that goes, accepted, with a view of the whole row",
        f"{_ORDERS} CREATE VIEW v AS SELECT orders FROM orders; CREATE VIEW w AS SELECT count(*) FROM v; GRANT SELECT ON w TO PUBLIC",
        "DROP TABLE orders CASCADE;",
        accepts=("view public.v", "view public.w"),
        keeps=("defined view public.v", "defined view public.w", "moved table public.orders"),
    ),
    Case(
        "on a column that goes",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, what FROM orders; CREATE VIEW stays AS SELECT id FROM orders",
        "ALTER TABLE orders DROP COLUMN what CASCADE;",
        accepts=("view public.v",),
        keeps=("copied table column public.orders.what", "defined view public.v"),
    ),
    Case(
        "grouped by a key that goes",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n FROM orders GROUP BY id",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;",
        accepts=("view public.v",),
        keeps=("defined table constraint orders_pkey on public.orders", "defined view public.v"),
    ),
    Case(
        "on a type that goes",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE VIEW v AS SELECT 'ok'::mood AS mood",
        "DROP TYPE mood CASCADE;",
        accepts=("view public.v",),
        keeps=("defined view public.v", "moved type public.mood"),
    ),
    Case(
        "used by a policy, a rule and a function's body",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; CREATE TABLE other (id int PRIMARY KEY);"
        "CREATE POLICY seen ON other USING (id IN (SELECT id FROM v));"
        "CREATE RULE note AS ON INSERT TO other DO ALSO SELECT count(*) FROM v;"
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM v; END",
        "DROP VIEW v CASCADE;",
        accepts=("function public.f()",),
        keeps=(
            "defined function public.f()",
            "defined policy seen on public.other",
            "defined rule note on public.other",
            "defined view public.v",
        ),
    ),
)
