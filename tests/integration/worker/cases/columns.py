"""Round trips of DROP COLUMN: values are copied with the table's key, everything on the column is written down."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, n int, c text);"
_ROWS = "INSERT INTO orders (id, n, c) SELECT n, n % 5, nullif('c' || n % 3, 'c0') FROM generate_series(1, 30) AS n;"
_DROP = "ALTER TABLE orders DROP COLUMN c;"

COLUMNS = (
    Case(
        "of a table without a key, with rows that are alike",
        "CREATE TABLE t (a int, b text, c json, d numeric(6, 2) DEFAULT 7, e timestamptz NOT NULL DEFAULT now());"
        "INSERT INTO t VALUES (1, 'x', '{}', 1.50, '2024-01-01'), (1, 'x', '{}', NULL, '2024-01-02'), (1, 'x', '{}', 3, '2024-01-03'),"
        " (NULL, NULL, NULL, 4, '2024-01-04'), (NULL, NULL, NULL, NULL, '2024-01-05'), (2, '(,\"', '[1, 2]', 6, '2024-01-06')",
        "ALTER TABLE t DROP COLUMN d, DROP COLUMN e;",
        keeps=("copied table column public.t.d", "copied table column public.t.e"),
        keeps_18=("defined table constraint t_e_not_null on public.t",),
    ),
    Case(
        "that are the key, where no other tells rows apart at every moment",
        "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c int NOT NULL UNIQUE DEFERRABLE, d int NOT NULL);"
        "CREATE UNIQUE INDEX few ON t (d) WHERE d > 0; CREATE UNIQUE INDEX expr ON t ((d + 1)); INSERT INTO t VALUES (1, 2, 3, 4), (2, 3, 4, 5)",
        "ALTER TABLE t DROP a;",
        keeps=("copied table column public.t.a", "defined table constraint t_pkey on public.t"),
        keeps_18=("defined table constraint t_a_not_null on public.t",),
    ),
    Case(
        "made of a table without a key",
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1), (2)",
        "ALTER TABLE t ADD COLUMN z int DEFAULT 5;",
        keeps=("created table column public.t.z",),
        alters=True,
    ),
    Case(
        "all that a table has",
        "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)",
        "ALTER TABLE t DROP COLUMN a, DROP COLUMN b;",
        keeps=("copied table column public.t.a", "copied table column public.t.b"),
    ),
    Case(
        "of a table with a key that may be NULL, and one that only holds NULL otherwise",
        "CREATE TABLE t (id int UNIQUE, a int, b int CHECK (b > 0)); INSERT INTO t VALUES (1, NULL, 1), (NULL, NULL, 2), (NULL, NULL, 3)",
        "ALTER TABLE t DROP COLUMN b;",
        keeps=("copied table column public.t.b", "defined table constraint t_b_check on public.t"),
    ),
    Case(
        "computed by a function that needs the search_path to find its own type, and one beside it",
        "CREATE TYPE triple AS (a int, b int); CREATE FUNCTION halves(int) RETURNS triple IMMUTABLE LANGUAGE sql AS"
        " 'SELECT ROW($1 / 2, $1 % 2)::triple'; CREATE TABLE t (id int PRIMARY KEY, n int, c text,"
        " h triple GENERATED ALWAYS AS (halves(n)) STORED); INSERT INTO t VALUES (1, 5, 'x'), (2, 8, NULL)",
        "ALTER TABLE t DROP COLUMN c; ALTER TABLE t DROP COLUMN h;",
        keeps=(
            "copied table column public.t.c",
            "copied table column public.t.h",
        ),
    ),
    Case(
        "whose name another column gets",
        "CREATE TABLE t (id int PRIMARY KEY, new bigint, old int); INSERT INTO t VALUES (1, 10, 1), (2, NULL, 2);"
        "CREATE INDEX t_new ON t (new)",
        "DROP INDEX t_new; ALTER TABLE t DROP COLUMN new; ALTER TABLE t RENAME COLUMN old TO new; CREATE INDEX ON t (new);",
        keeps=(
            "changed table column public.t.old",
            "copied table column public.t.new",
            "created index public.t_new_idx",
            "defined index public.t_new",
        ),
        alters=True,
    ),
    Case("nullable", _ORDERS + _ROWS, _DROP, keeps=("copied table column public.orders.c",)),
    Case(
        "several, some absent",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d boolean DEFAULT false; UPDATE orders SET d = true WHERE id > 20",
        "ALTER TABLE IF EXISTS orders DROP COLUMN IF EXISTS c, DROP IF EXISTS never, DROP COLUMN IF EXISTS n, DROP d;",
        keeps=(
            "copied table column public.orders.c",
            "copied table column public.orders.d",
            "copied table column public.orders.n",
        ),
    ),
    Case(
        "NOT NULL with a default",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d int NOT NULL DEFAULT 5; UPDATE orders SET d = id",
        "ALTER TABLE orders DROP COLUMN d;",
        keeps=("copied table column public.orders.d",),
        keeps_18=("defined table constraint orders_d_not_null on public.orders",),
    ),
    Case(
        "NOT NULL with a name and a comment",
        "CREATE TABLE orders (id int PRIMARY KEY, c text CONSTRAINT filled NOT NULL); INSERT INTO orders VALUES (1, 'a');"
        "COMMENT ON CONSTRAINT filled ON orders IS 'always'",
        _DROP,
        since=18,
        why="NOT NULL constraints with a name",
        keeps=("copied table column public.orders.c",),
        keeps_18=("defined table constraint filled on public.orders",),
    ),
    Case(
        "generated and stored",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d int GENERATED ALWAYS AS (n * 2 + id) STORED",
        "ALTER TABLE orders DROP COLUMN d;",
        keeps=("copied table column public.orders.d",),
    ),
    Case(
        "generated and virtual",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d int GENERATED ALWAYS AS (n * 2 + id) VIRTUAL",
        "ALTER TABLE orders DROP COLUMN d;",
        since=18,
        why="virtual generated columns",
        keeps=("copied table column public.orders.d",),
    ),
    Case(
        "with the generated column that is computed from it, both named",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d text GENERATED ALWAYS AS (upper(c)) STORED",
        "ALTER TABLE orders DROP COLUMN c, DROP COLUMN d;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.d"),
    ),
    Case(
        "with a generated column that stands before what it is computed from",
        "CREATE TABLE orders (id int PRIMARY KEY, d int GENERATED ALWAYS AS (c * 2) STORED, c int); INSERT INTO orders (id, c) VALUES (1, 4), (2, NULL)",
        "ALTER TABLE orders DROP COLUMN c, DROP COLUMN d;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.d"),
    ),
    Case(
        "a generated column is computed from it, accepted",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d text GENERATED ALWAYS AS (upper(c)) STORED; CREATE INDEX by_d ON orders (d)",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        accepts=("table column public.orders.d",),
        keeps=(
            "copied table column public.orders.c",
            "copied table column public.orders.d",
            "defined index public.by_d",
        ),
    ),
    Case(
        "in checks of its own and over others",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD CONSTRAINT short CHECK (length(c) < 9), ADD CONSTRAINT pair CHECK (n < 9 OR c IS NULL),"
        " ADD CONSTRAINT later CHECK (c <> 'c1') NOT VALID; COMMENT ON CONSTRAINT pair ON orders IS 'over two'",
        _DROP,
        keeps=(
            "copied table column public.orders.c",
            "defined table constraint later on public.orders",
            "defined table constraint pair on public.orders",
            "defined table constraint short on public.orders",
        ),
    ),
    Case(
        "in indexes over several columns",
        f"{_ORDERS}{_ROWS} CREATE INDEX pair ON orders (n, c); CREATE INDEX included ON orders (n) INCLUDE (c);"
        "CREATE INDEX predicate ON orders (n) WHERE c IS NOT NULL; CREATE INDEX expr ON orders (lower(c));"
        "CREATE UNIQUE INDEX once ON orders (id, c); CREATE INDEX untouched ON orders (n)",
        _DROP,
        keeps=(
            "copied table column public.orders.c",
            "defined index public.expr",
            "defined index public.included",
            "defined index public.once",
            "defined index public.pair",
            "defined index public.predicate",
        ),
    ),
    Case(
        "unique, and referenced",
        "CREATE TABLE orders (id int PRIMARY KEY, c text CONSTRAINT c_once UNIQUE, d int); INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', 2);"
        "ALTER TABLE orders ADD CONSTRAINT pair UNIQUE (c, d) INCLUDE (id) WITH (fillfactor = 80) DEFERRABLE;"
        "COMMENT ON CONSTRAINT c_once ON orders IS 'once'; COMMENT ON INDEX c_once IS 'index of once';"
        "CREATE TABLE lines (c text REFERENCES orders (c) ON UPDATE CASCADE); INSERT INTO lines VALUES ('a')",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        keeps=(
            "copied table column public.orders.c",
            "defined table constraint c_once on public.orders",
            "defined table constraint lines_c_fkey on public.lines",
            "defined table constraint pair on public.orders",
        ),
    ),
    Case(
        "excluded",
        "CREATE TABLE orders (id int PRIMARY KEY, c int4range, EXCLUDE USING gist (c WITH &&) WHERE (id > 0));"
        "INSERT INTO orders VALUES (1, '[1,5)'), (2, '[5,9)'), (3, NULL)",
        _DROP,
        keeps=("copied table column public.orders.c", "defined table constraint orders_c_excl on public.orders"),
    ),
    Case(
        "a foreign key",
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2); CREATE TABLE orders (id int PRIMARY KEY,"
        " c int REFERENCES users ON DELETE CASCADE, d int, FOREIGN KEY (d) REFERENCES users NOT VALID);"
        "INSERT INTO orders VALUES (1, 1, 2), (2, NULL, NULL)",
        "ALTER TABLE orders DROP COLUMN c, DROP COLUMN d;",
        keeps=(
            "copied table column public.orders.c",
            "copied table column public.orders.d",
            "defined table constraint orders_c_fkey on public.orders",
            "defined table constraint orders_d_fkey on public.orders",
        ),
    ),
    Case(
        "part of a foreign key on itself",
        "CREATE TABLE orders (id int PRIMARY KEY, c int REFERENCES orders); INSERT INTO orders VALUES (1, NULL), (2, 1), (3, 2)",
        _DROP,
        keeps=("copied table column public.orders.c", "defined table constraint orders_c_fkey on public.orders"),
    ),
    Case(
        "an enum with a default, its type stays",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE orders (id int PRIMARY KEY, c mood NOT NULL DEFAULT 'ok', m mood[]);"
        "INSERT INTO orders VALUES (1, 'sad', '{ok}'), (2, 'ok', NULL)",
        "ALTER TABLE orders DROP c, DROP m;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.m"),
        keeps_18=("defined table constraint orders_c_not_null on public.orders",),
    ),
    Case(
        "collation, compression, storage, statistics target and options",
        'CREATE TABLE orders (id int PRIMARY KEY, c text COMPRESSION pglz COLLATE "C", d varchar(20) COLLATE "POSIX");'
        "ALTER TABLE orders ALTER c SET STORAGE EXTERNAL, ALTER c SET STATISTICS 321, ALTER c SET (n_distinct = 5, n_distinct_inherited = -0.1);"
        "INSERT INTO orders SELECT n, repeat('x', n * 3000), 'd' FROM generate_series(1, 4) AS n",
        "ALTER TABLE orders DROP c, DROP d;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.d"),
    ),
    Case(
        "grants and a comment",
        f"{_ORDERS}{_ROWS} GRANT SELECT (c), UPDATE (c) ON orders TO stepback_app WITH GRANT OPTION; GRANT INSERT (c, n) ON orders TO PUBLIC;"
        "COMMENT ON COLUMN orders.c IS 'don''t %s :x'",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "volatile default",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ADD d uuid DEFAULT gen_random_uuid(), ADD e timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE orders DROP d, DROP e;",
        keeps=("copied table column public.orders.d", "copied table column public.orders.e"),
    ),
    Case(
        "default from a sequence that stays",
        f"CREATE SEQUENCE numbers; {_ORDERS}{_ROWS} ALTER TABLE orders ADD d int DEFAULT nextval('numbers')",
        "ALTER TABLE orders DROP d;",
        keeps=("copied table column public.orders.d",),
    ),
    Case(
        "NULL in every row",
        f"{_ORDERS} INSERT INTO orders SELECT generate_series(1, 9)",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case("no rows", _ORDERS, _DROP, keeps=("copied table column public.orders.c",)),
    Case(
        "triggers that would falsify rows stay quiet",
        "CREATE TABLE orders (id int PRIMARY KEY, c text, updated_at timestamptz DEFAULT now()); INSERT INTO orders VALUES (1, 'a'), (2, NULL);"
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END$$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();"
        "CREATE TRIGGER touch_always BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();"
        "CREATE TRIGGER off BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();"
        "ALTER TABLE orders ENABLE ALWAYS TRIGGER touch_always, DISABLE TRIGGER off",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "rules on the table stay quiet",
        f"{_ORDERS}{_ROWS} CREATE TABLE log (id int); CREATE RULE no AS ON UPDATE TO orders DO INSTEAD NOTHING;"
        "CREATE RULE tell AS ON UPDATE TO orders DO ALSO INSERT INTO log VALUES (NEW.id); ALTER TABLE orders ENABLE REPLICA RULE tell",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "a trigger, a rule and a policy that read it",
        f"{_ORDERS}{_ROWS} CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE UPDATE OF c ON orders FOR EACH ROW WHEN (NEW.c IS NOT NULL) EXECUTE FUNCTION note();"
        "CREATE RULE r AS ON DELETE TO orders WHERE OLD.c = 'x' DO INSTEAD NOTHING; CREATE POLICY p ON orders USING (c IS NOT NULL)",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        keeps=(
            "copied table column public.orders.c",
            "defined policy p on public.orders",
            "defined rule r on public.orders",
            "defined trigger t on public.orders",
        ),
    ),
    Case(
        "in statistics, and in a publication's columns",
        f"{_ORDERS}{_ROWS} CREATE STATISTICS s ON n, c FROM orders; CREATE PUBLICATION p FOR TABLE orders (id, c) WHERE (c = 'c1')",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        leaves=("publication",),
        keeps=(
            "copied table column public.orders.c",
            "defined publication relation public.orders in publication p",
            "defined statistics object public.s",
        ),
    ),
    Case(
        "key of several columns",
        "CREATE TABLE orders (a int, b text, c text, PRIMARY KEY (b, a)); INSERT INTO orders VALUES (1, 'x', 'one'), (1, 'y', 'two'), (2, 'x', NULL)",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "key by UNIQUE NOT NULL",
        "CREATE TABLE orders (code text NOT NULL UNIQUE, c int); INSERT INTO orders VALUES ('a', 1), ('b', NULL)",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "the primary key itself, where another key stays",
        "CREATE TABLE orders (id int PRIMARY KEY, code text NOT NULL UNIQUE, c int); INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', NULL);"
        "COMMENT ON INDEX orders_pkey IS 'pk'; ALTER TABLE orders CLUSTER ON orders_pkey",
        "ALTER TABLE orders DROP COLUMN id;",
        keeps=("copied table column public.orders.id", "defined table constraint orders_pkey on public.orders"),
        keeps_18=("defined table constraint orders_id_not_null on public.orders",),
    ),
    Case(
        "domain with a check",
        "CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100); CREATE TABLE orders (id int PRIMARY KEY, c percent DEFAULT 7);"
        "INSERT INTO orders VALUES (1, 5), (2, NULL)",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "domain that is NOT NULL",
        "CREATE DOMAIN percent AS int NOT NULL CHECK (VALUE BETWEEN 0 AND 100); CREATE DOMAIN named AS text NOT NULL DEFAULT 'x';"
        "CREATE TABLE orders (id int PRIMARY KEY, c percent, d named); INSERT INTO orders VALUES (1, 5, 'a'), (2, 6, 'b')",
        "ALTER TABLE orders DROP COLUMN c, DROP COLUMN d;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.d"),
    ),
    Case(
        "domain with a default of its own, over another, with storage",
        "CREATE DOMAIN code AS varchar(7) COLLATE \"C\" DEFAULT 'x'; CREATE DOMAIN share AS code;"
        "CREATE TABLE orders (id int PRIMARY KEY, c share, d share DEFAULT 'y' COLLATE \"POSIX\");"
        "ALTER TABLE orders ALTER c SET STORAGE EXTERNAL, ALTER c SET COMPRESSION pglz; INSERT INTO orders VALUES (1, 'a', NULL), (2, NULL, 'b')",
        "ALTER TABLE orders DROP c, DROP d;",
        keeps=("copied table column public.orders.c", "copied table column public.orders.d"),
    ),
    Case(
        "unusual names",
        f'CREATE SCHEMA "S 1"; CREATE TABLE "S 1"."{"ö" * 31}" ("k ey%s" int PRIMARY KEY, "c""o:l %(x)s" text DEFAULT \'%s\');'
        f'INSERT INTO "S 1"."{"ö" * 31}" VALUES (1, \'%d\'), (2, NULL)',
        f'ALTER TABLE "S 1"."{"ö" * 31}" DROP COLUMN "c""o:l %(x)s";',
        keeps=('copied table column "S 1"."ööööööööööööööööööööööööööööööö"."c""o:l %(x)s"',),
    ),
    Case(
        "of two tables with long names that begin alike",
        f'CREATE TABLE "{"ö" * 30}1" (id int PRIMARY KEY, c int); CREATE TABLE "{"ö" * 30}2" (id int PRIMARY KEY, c int);'
        f'INSERT INTO "{"ö" * 30}1" VALUES (1, 1); INSERT INTO "{"ö" * 30}2" VALUES (1, 2), (2, NULL)',
        f'ALTER TABLE "{"ö" * 30}1" DROP COLUMN c; ALTER TABLE "{"ö" * 30}2" DROP COLUMN c;',
        keeps=(
            'copied table column public."öööööööööööööööööööööööööööööö1".c',
            'copied table column public."öööööööööööööööööööööööööööööö2".c',
        ),
    ),
    Case(
        "under row-level security",
        f"{_ORDERS}{_ROWS} ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON orders USING (id < 3)",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "under row-level security that binds the owner",
        f"{_ORDERS}{_ROWS} CREATE POLICY few ON orders USING (id < 3);"
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "of a published table without replica identity",
        "CREATE TABLE orders (code text NOT NULL UNIQUE, c int); INSERT INTO orders VALUES ('a', 1), ('b', NULL);"
        "CREATE PUBLICATION p FOR TABLE orders",
        _DROP,
        keeps=("copied table column public.orders.c",),
    ),
    Case(
        "of a published table, with the index of its replica identity",
        "CREATE TABLE orders (id int PRIMARY KEY, c int NOT NULL); INSERT INTO orders VALUES (1, 1), (2, 2);"
        "CREATE UNIQUE INDEX by_c ON orders (c); ALTER TABLE orders REPLICA IDENTITY USING INDEX by_c; CREATE PUBLICATION p FOR TABLE orders",
        _DROP,
        keeps=("copied table column public.orders.c", "defined index public.by_c"),
        keeps_18=("defined table constraint orders_c_not_null on public.orders",),
    ),
    Case(
        "of every type of value",
        "CREATE TABLE orders (id int PRIMARY KEY, a bytea, b jsonb, d numeric, e double precision, f interval, g timestamptz,"
        ' h inet, i uuid, j money, k tsvector, l bit(3), m xid8, n point, o "char", p name, q int[][], r json);'
        "INSERT INTO orders VALUES (1, '\\x00ff', '{\"a\": 1.10}', 'NaN', 'Infinity', '1 mon -1 day', '2020-02-28 BC', '10.0.0.1/8',"
        " gen_random_uuid(), 1.5, 'a b', '101', '5', '(1.5,2)', 'x', 'y', '{{1,2},{3,4}}', '{\"b\" : 1}');INSERT INTO orders VALUES (2)",
        "ALTER TABLE orders DROP a, DROP b, DROP d, DROP e, DROP f, DROP g, DROP h, DROP i, DROP j, DROP k, DROP l, DROP m, DROP n,"
        " DROP o, DROP p, DROP q, DROP r;",
        keeps=(
            "copied table column public.orders.a",
            "copied table column public.orders.b",
            "copied table column public.orders.d",
            "copied table column public.orders.e",
            "copied table column public.orders.f",
            "copied table column public.orders.g",
            "copied table column public.orders.h",
            "copied table column public.orders.i",
            "copied table column public.orders.j",
            "copied table column public.orders.k",
            "copied table column public.orders.l",
            "copied table column public.orders.m",
            "copied table column public.orders.n",
            "copied table column public.orders.o",
            "copied table column public.orders.p",
            "copied table column public.orders.q",
            "copied table column public.orders.r",
        ),
    ),
)
