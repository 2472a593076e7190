"""Round trips of DROP TRIGGER, RULE, POLICY and STATISTICS, and of ALTER TABLE … DROP CONSTRAINT."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int, what text); INSERT INTO orders VALUES (1, 2, 'a'), (2, 3, 'b');"
)
_NOTE = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"

DEFINITIONS = (
    Case(
        "trigger, disabled, with a comment",
        f"{_ORDERS} {_NOTE} CREATE TRIGGER \"no te\" AFTER UPDATE OF n ON orders FOR EACH ROW WHEN (NEW.n IS DISTINCT FROM OLD.n) EXECUTE FUNCTION note('a', '%s');"
        'ALTER TABLE orders DISABLE TRIGGER "no te"; COMMENT ON TRIGGER "no te" ON orders IS \'100%\'',
        'DROP TRIGGER "no te" ON public.orders;',
        keeps=('defined trigger "no te" on public.orders',),
    ),
    Case(
        "triggers with transition tables, one in replica role, one of a constraint, and one absent",
        f'{_ORDERS} {_NOTE} CREATE TRIGGER rows AFTER UPDATE ON orders REFERENCING OLD TABLE AS was NEW TABLE AS "is" FOR EACH STATEMENT EXECUTE FUNCTION note();'
        "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();"
        "ALTER TABLE orders ENABLE REPLICA TRIGGER rows",
        "DROP TRIGGER rows ON orders RESTRICT; DROP TRIGGER later ON orders CASCADE; DROP TRIGGER IF EXISTS rows ON gone; DROP TRIGGER IF EXISTS gone ON orders;",
        keeps=("defined trigger later on public.orders", "defined trigger rows on public.orders"),
    ),
    Case(
        "constraint trigger from another table",
        f"{_ORDERS} {_NOTE} CREATE TABLE lines (id int);"
        "CREATE CONSTRAINT TRIGGER far AFTER UPDATE ON orders FROM lines FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP TRIGGER far ON orders;",
        keeps=("defined trigger far on public.orders",),
    ),
    Case(
        "trigger of a view that stays",
        f"{_ORDERS} {_NOTE} CREATE VIEW v AS SELECT id FROM orders; CREATE TRIGGER put INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP TRIGGER put ON v;",
        keeps=("defined trigger put on public.v",),
    ),
    Case(
        "trigger, its function and its view",
        f"{_ORDERS} {_NOTE} CREATE VIEW v AS SELECT id FROM orders; CREATE TRIGGER put INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP TRIGGER put ON v; DROP FUNCTION note(); DROP VIEW v;",
        keeps=("defined function public.note()", "defined trigger put on public.v", "defined view public.v"),
    ),
    Case(
        "rules, one disabled, of a table and of a view",
        f"{_ORDERS} CREATE VIEW v AS SELECT id, n FROM orders; CREATE RULE quiet AS ON DELETE TO orders WHERE OLD.id = 0 DO INSTEAD NOTHING;"
        "CREATE RULE loud AS ON UPDATE TO orders DO ALSO (SELECT 1; NOTIFY heard); ALTER TABLE orders DISABLE RULE loud;"
        "CREATE RULE put AS ON INSERT TO v DO INSTEAD INSERT INTO orders (id) VALUES (NEW.id); COMMENT ON RULE put ON v IS 'p'",
        "DROP RULE quiet ON orders; DROP RULE loud ON orders; DROP RULE IF EXISTS put ON v CASCADE;",
        keeps=(
            "defined rule loud on public.orders",
            "defined rule put on public.v",
            "defined rule quiet on public.orders",
        ),
    ),
    Case(
        "policies, restrictive, of roles, and the table goes on being guarded",
        f"{_ORDERS} ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON orders AS RESTRICTIVE FOR UPDATE TO stepback_app, goodbuy_app USING (n > 0) WITH CHECK (n < 9);"
        "CREATE POLICY \"every one\" ON orders; COMMENT ON POLICY mine ON orders IS 'm'",
        'DROP POLICY mine ON orders; DROP POLICY "every one" ON orders;',
        keeps=('defined policy "every one" on public.orders', "defined policy mine on public.orders"),
    ),
    Case(
        "policy that looks at another table",
        f"{_ORDERS} CREATE TABLE allowed (id int); CREATE POLICY seen ON orders FOR SELECT USING (EXISTS (SELECT FROM allowed AS a WHERE a.id = orders.id))",
        "DROP TABLE allowed CASCADE; DROP POLICY IF EXISTS gone ON orders;",
        keeps=("defined policy seen on public.orders", "moved table public.allowed"),
    ),
    Case(
        "statistics, of kinds, with a target, in another schema",
        f'{_ORDERS} CREATE SCHEMA a; CREATE STATISTICS a."s s" (ndistinct, mcv) ON id, n FROM orders; ALTER STATISTICS a."s s" SET STATISTICS 77;'
        "CREATE STATISTICS t ON lower(what), n FROM orders; COMMENT ON STATISTICS t IS 't'; ANALYZE orders",
        'DROP STATISTICS IF EXISTS a."s s", t, gone;',
        keeps=('defined statistics object a."s s"', "defined statistics object public.t"),
    ),
    Case(
        "CHECK constraints, one not valid",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT small CHECK (n < 10) NO INHERIT, ADD CONSTRAINT \"o dd\" CHECK (what ~ '%s|[ab]') NOT VALID;"
        "COMMENT ON CONSTRAINT small ON orders IS 's'",
        'ALTER TABLE orders DROP CONSTRAINT small, DROP CONSTRAINT "o dd", DROP CONSTRAINT IF EXISTS gone;',
        keeps=(
            'defined table constraint "o dd" on public.orders',
            "defined table constraint small on public.orders",
        ),
    ),
    Case(
        "foreign key",
        f"{_ORDERS} CREATE TABLE lines (id int PRIMARY KEY, o int CONSTRAINT of_order REFERENCES orders ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE);"
        "INSERT INTO lines VALUES (1, 1), (2, NULL)",
        "ALTER TABLE lines DROP CONSTRAINT of_order;",
        keeps=("defined table constraint of_order on public.lines",),
    ),
    Case(
        "UNIQUE with options, and the foreign key on it",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT once UNIQUE NULLS NOT DISTINCT (n) INCLUDE (what) WITH (fillfactor = 70) DEFERRABLE, REPLICA IDENTITY FULL;"
        "ALTER TABLE orders ADD CONSTRAINT plain UNIQUE (n); COMMENT ON INDEX plain IS 'i'; CREATE TABLE lines (n int REFERENCES orders (n)); INSERT INTO lines VALUES (2)",
        "ALTER TABLE IF EXISTS orders DROP CONSTRAINT once, DROP CONSTRAINT plain CASCADE;",
        keeps=(
            "defined table constraint lines_n_fkey on public.lines",
            "defined table constraint once on public.orders",
            "defined table constraint plain on public.orders",
        ),
    ),
    Case(
        "primary key, clustered on",
        f"{_ORDERS} ALTER TABLE orders CLUSTER ON orders_pkey; CREATE TABLE lines (o int REFERENCES orders); INSERT INTO lines VALUES (1)",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;",
        keeps=(
            "defined table constraint lines_o_fkey on public.lines",
            "defined table constraint orders_pkey on public.orders",
        ),
    ),
    Case(
        "exclusion",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT apart EXCLUDE USING btree (n WITH =) WHERE (n > 0) DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE orders DROP CONSTRAINT apart;",
        keeps=("defined table constraint apart on public.orders",),
    ),
    Case(
        "NOT NULL with a name",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT there NOT NULL n; COMMENT ON CONSTRAINT there ON orders IS 't'",
        "ALTER TABLE orders DROP CONSTRAINT there;",
        since=18,
        why="NOT NULL as a constraint",
        leaves=("orders | n", "n integer"),
        keeps=("defined table constraint there on public.orders",),
    ),
    Case(
        "constraint and column in one statement",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT small CHECK (n < 10), ADD CONSTRAINT pair CHECK (n > 0 OR what <> ''), ADD CONSTRAINT named UNIQUE (what)",
        "ALTER TABLE orders DROP CONSTRAINT small, DROP COLUMN n CASCADE, DROP CONSTRAINT IF EXISTS named;",
        keeps=(
            "copied table column public.orders.n",
            "defined table constraint pair on public.orders",
            "defined table constraint named on public.orders",
            "defined table constraint small on public.orders",
        ),
    ),
    Case(
        "constraint of a table that goes as well",
        f"{_ORDERS} ALTER TABLE orders ADD CONSTRAINT small CHECK (n < 10); CREATE STATISTICS s ON id, n FROM orders",
        "ALTER TABLE orders DROP CONSTRAINT small; DROP STATISTICS s; DROP TABLE orders;",
        keeps=("defined statistics object public.s", "moved table public.orders"),
    ),
)
