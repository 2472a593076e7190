"""Round trips of partitioned tables: whole, with everything that partitions have, and of single partitions."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_SALES = (
    "CREATE TABLE sales (id int, at int, n int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM (10) TO (MAXVALUE);"
    "INSERT INTO sales SELECT n, n, n % 3 FROM generate_series(1, 20) AS n;"
)
_MOVED = ("moved table public.sales", "moved table public.sales_1", "moved table public.sales_2")
_ONE = ("defined partition public.sales_1 of public.sales", "moved table public.sales_1")
_NOTE = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"

PARTITIONS = (
    Case("range", _SALES, "DROP TABLE sales;", keeps=_MOVED),
    Case("range, all named", _SALES, "DROP TABLE sales_2, sales, sales_1;", keeps=_MOVED),
    Case(
        "no partitions",
        "CREATE TABLE sales (id int) PARTITION BY HASH (id); COMMENT ON TABLE sales IS 'empty'",
        "DROP TABLE sales;",
        keeps=("moved table public.sales",),
    ),
    Case(
        "list over an enum, with a default partition, the type in the same plan",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE sales (id int, mood mood) PARTITION BY LIST (mood);"
        "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES IN ('sad', NULL); CREATE TABLE sales_2 PARTITION OF sales DEFAULT;"
        "INSERT INTO sales VALUES (1, 'sad'), (2, NULL), (3, 'ok')",
        "DROP TABLE sales; DROP TYPE mood;",
        keeps=(*_MOVED, "moved type public.mood"),
    ),
    Case(
        "hash over an expression's columns, with storage options and tablespaces left alone",
        "CREATE TABLE sales (id int, t text) PARTITION BY HASH (id, t); CREATE TABLE sales_1 PARTITION OF sales"
        " FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 50); CREATE TABLE sales_2 PARTITION OF sales"
        " FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO sales SELECT n, 't' || n FROM generate_series(1, 9) AS n",
        "DROP TABLE sales;",
        keeps=_MOVED,
    ),
    Case(
        "partitioned by an expression, columns in another order",
        "CREATE TABLE sales (id int, t text) PARTITION BY RANGE (lower(t)); CREATE TABLE sales_1 (t text, gone int, id int);"
        "ALTER TABLE sales_1 DROP gone; ALTER TABLE sales ATTACH PARTITION sales_1 FOR VALUES FROM ('a') TO ('m');"
        "CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM ('m') TO (MAXVALUE); INSERT INTO sales VALUES (1, 'Ada'), (2, 'Zoe')",
        "DROP TABLE sales;",
        keeps=_MOVED,
    ),
    Case(
        "sub-partitions in several schemas",
        'CREATE SCHEMA a; CREATE SCHEMA "b c"; CREATE TABLE sales (id int, at int) PARTITION BY LIST (id);'
        "CREATE TABLE a.sales PARTITION OF sales FOR VALUES IN (1) PARTITION BY RANGE (at);"
        'CREATE TABLE "b c".sales PARTITION OF a.sales FOR VALUES FROM (0) TO (5); CREATE TABLE a.rest PARTITION OF a.sales DEFAULT;'
        "CREATE INDEX by_at ON sales (at); INSERT INTO sales VALUES (1, 1), (1, 9)",
        "DROP TABLE sales;",
        keeps=("moved table a.rest", "moved table a.sales", 'moved table "b c".sales', "moved table public.sales"),
    ),
    Case(
        "indexes of the whole and of one partition, with comments",
        f"{_SALES} CREATE INDEX whole ON sales (n); CREATE UNIQUE INDEX once ON sales (at, n, id); CREATE INDEX only_one ON sales_1 (n DESC);"
        "COMMENT ON INDEX whole IS 'of the whole'; COMMENT ON INDEX sales_1_n_idx IS 'of a part'; CREATE INDEX pending ON ONLY sales (id)",
        "DROP TABLE sales;",
        keeps=_MOVED,
    ),
    Case(
        "checks, defaults and NOT NULL of the whole and of one partition",
        f"{_SALES} ALTER TABLE sales ADD CONSTRAINT small CHECK (n < 100), ALTER n SET DEFAULT 1; ALTER TABLE sales_1 ALTER n SET DEFAULT 2,"
        " ADD CONSTRAINT own CHECK (n >= 0), ALTER n SET NOT NULL; COMMENT ON CONSTRAINT small ON sales_2 IS 'in part'",
        "DROP TABLE sales;",
        keeps=_MOVED,
    ),
    Case(
        "foreign keys to a survivor, of the whole and of one partition",
        f"CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(0, 20); {_SALES}"
        "ALTER TABLE sales ADD CONSTRAINT who FOREIGN KEY (n) REFERENCES users; ALTER TABLE sales_1 ADD CONSTRAINT own FOREIGN KEY (id) REFERENCES users",
        "DROP TABLE sales;",
        keeps=(
            "defined table constraint own on public.sales_1",
            "defined table constraint who on public.sales",
            *_MOVED,
        ),
    ),
    Case(
        "a foreign key that a partition calls by another name and comments on",
        f"CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(0, 20); {_SALES}"
        "ALTER TABLE sales ADD CONSTRAINT who FOREIGN KEY (n) REFERENCES users; ALTER TABLE sales_1 RENAME CONSTRAINT who TO whose;"
        "COMMENT ON CONSTRAINT whose ON sales_1 IS 'whose'",
        "DROP TABLE sales;",
        keeps=("defined table constraint who on public.sales", *_MOVED),
    ),
    Case(
        "foreign keys from a survivor, to the whole and to one partition",
        f"{_SALES} CREATE TABLE lines (id int, at int, FOREIGN KEY (id, at) REFERENCES sales, CONSTRAINT part FOREIGN KEY (id, at) REFERENCES sales_1);"
        "INSERT INTO lines VALUES (1, 1)",
        "DROP TABLE sales CASCADE;",
        keeps=(
            "defined table constraint lines_id_at_fkey on public.lines",
            "defined table constraint part on public.lines",
            *_MOVED,
        ),
    ),
    Case(
        "a foreign key between two partitioned tables of the plan, and one on itself",
        f"{_SALES} ALTER TABLE sales ADD up_id int, ADD up_at int, ADD CONSTRAINT up FOREIGN KEY (up_id, up_at) REFERENCES sales;"
        "CREATE TABLE lines (id int, at int, FOREIGN KEY (id, at) REFERENCES sales) PARTITION BY LIST (id);"
        "CREATE TABLE lines_1 PARTITION OF lines DEFAULT; INSERT INTO lines VALUES (1, 1); UPDATE sales SET up_id = 1, up_at = 1 WHERE id = 2",
        "DROP TABLE lines, lines_1, sales, sales_1, sales_2;",
        keeps=("moved table public.lines", "moved table public.lines_1", *_MOVED),
    ),
    Case(
        "row triggers, switched off in one partition, and one of a partition's own",
        f"{_NOTE}{_SALES} CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note();"
        "CREATE TRIGGER quiet BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales DISABLE TRIGGER quiet;"
        "CREATE TRIGGER own AFTER INSERT ON sales_2 FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales_1 DISABLE TRIGGER whole;"
        "COMMENT ON TRIGGER whole ON sales IS 'whole'; COMMENT ON TRIGGER whole ON sales_1 IS 'part'",
        "DROP TABLE sales;",
        keeps=(
            "defined trigger own on public.sales_2",
            "defined trigger quiet on public.sales",
            "defined trigger whole on public.sales",
            *_MOVED,
        ),
    ),
    Case(
        "policies, statistics and publications on both levels",
        f"{_SALES} ALTER TABLE sales ENABLE ROW LEVEL SECURITY; CREATE POLICY whole ON sales USING (n > 0);"
        "CREATE POLICY part ON sales_1 USING (n > 1); CREATE STATISTICS s ON id, n FROM sales; CREATE STATISTICS s1 ON id, n FROM sales_1;"
        "CREATE PUBLICATION p FOR TABLE sales WITH (publish_via_partition_root); CREATE PUBLICATION p1 FOR TABLE sales_1",
        "DROP TABLE sales;",
        keeps=(
            "defined policy part on public.sales_1",
            "defined policy whole on public.sales",
            "defined publication relation public.sales in publication p",
            "defined publication relation public.sales_1 in publication p1",
            "defined statistics object public.s",
            "defined statistics object public.s1",
            *_MOVED,
        ),
    ),
    Case(
        "serial, identity and generated columns, unlogged and foreign to nobody",
        "CREATE TABLE sales (id serial, at int, twice int GENERATED ALWAYS AS (at * 2) STORED) PARTITION BY RANGE (at);"
        "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10); CREATE UNLOGGED TABLE sales_2 PARTITION OF sales DEFAULT;"
        "INSERT INTO sales (at) VALUES (1), (20)",
        "DROP TABLE sales;",
        keeps=_MOVED,
    ),
    Case(
        "identity",
        "CREATE TABLE sales (id int GENERATED ALWAYS AS IDENTITY, at int) PARTITION BY RANGE (at); CREATE TABLE sales_1 PARTITION OF sales FOR VALUES"
        " FROM (0) TO (10); CREATE TABLE sales_2 PARTITION OF sales DEFAULT; INSERT INTO sales (at) VALUES (1), (20)",
        "DROP TABLE sales;",
        keeps=_MOVED,
        since=17,
        why="identity columns of partitioned tables",
    ),
    # -- one partition
    Case(
        "one of two",
        _SALES,
        "DROP TABLE sales_1;",
        gate="SELECT count(*) = 11 FROM sales",
        keeps=_ONE,
    ),
    Case(
        "all, but not the whole",
        _SALES,
        "DROP TABLE sales_1, sales_2;",
        keeps=(*_ONE, "defined partition public.sales_2 of public.sales", "moved table public.sales_2"),
    ),
    Case(
        "one beside a default partition",
        f"{_SALES} CREATE TABLE rest PARTITION OF sales DEFAULT; INSERT INTO sales VALUES (99, -5, 0)",
        "DROP TABLE sales_1;",
        keeps=_ONE,
    ),
    Case(
        "the default partition",
        f"{_SALES} CREATE TABLE rest PARTITION OF sales DEFAULT; INSERT INTO sales VALUES (99, -5, 0)",
        "DROP TABLE rest;",
        keeps=("defined partition public.rest of public.sales", "moved table public.rest"),
    ),
    Case(
        "one with indexes, constraints and columns of its own in another order",
        f"{_SALES} CREATE TABLE odd (n int DEFAULT 7, at int NOT NULL, id int NOT NULL, CONSTRAINT odd_key PRIMARY KEY (id, at));"
        "CREATE INDEX whole ON sales (n); CREATE INDEX odd_n ON odd (n); CREATE INDEX odd_at ON odd (at DESC);"
        "ALTER TABLE odd ADD CONSTRAINT own CHECK (at < 0); ALTER TABLE sales ADD CONSTRAINT whole CHECK (n < 100);"
        "ALTER TABLE odd ADD CONSTRAINT whole CHECK (n < 100); ALTER TABLE sales ATTACH PARTITION odd FOR VALUES FROM (-10) TO (0);"
        "INSERT INTO sales VALUES (-1, -1, 5); COMMENT ON CONSTRAINT odd_key ON odd IS 'key'; COMMENT ON INDEX odd_n IS 'tied'",
        "DROP TABLE odd;",
        keeps=("defined partition public.odd of public.sales", "moved table public.odd"),
    ),
    Case(
        "one with foreign keys of the whole and of its own",
        f"CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(0, 20); {_SALES}"
        "ALTER TABLE sales ADD CONSTRAINT who FOREIGN KEY (n) REFERENCES users ON DELETE CASCADE; ALTER TABLE sales_1 RENAME CONSTRAINT who TO whose;"
        "COMMENT ON CONSTRAINT whose ON sales_1 IS 'whose'; ALTER TABLE sales_1 ADD CONSTRAINT own FOREIGN KEY (id) REFERENCES users",
        "DROP TABLE sales_1;",
        keeps=("defined table constraint own on public.sales_1", *_ONE),
    ),
    Case(
        "one with triggers of the whole and of its own",
        f"{_NOTE}{_SALES} CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales_1 ENABLE ALWAYS TRIGGER whole;"
        "CREATE TRIGGER own AFTER INSERT ON sales_1 FOR EACH ROW EXECUTE FUNCTION note(); COMMENT ON TRIGGER whole ON sales_1 IS 'part';"
        "CREATE TRIGGER off AFTER DELETE ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales DISABLE TRIGGER off",
        "DROP TABLE sales_1;",
        keeps=("defined trigger own on public.sales_1", *_ONE),
    ),
    Case(
        "one that is partitioned itself, with keys and triggers from above",
        f"{_NOTE} CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2);"
        "CREATE TABLE sales (id int REFERENCES users, at int, PRIMARY KEY (id, at)) PARTITION BY LIST (id);"
        "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES IN (1) PARTITION BY RANGE (at); CREATE TABLE other PARTITION OF sales FOR VALUES IN (2);"
        "CREATE TABLE low PARTITION OF sales_1 FOR VALUES FROM (0) TO (5); CREATE TABLE high PARTITION OF sales_1 DEFAULT;"
        "CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE low DISABLE TRIGGER whole;"
        "ALTER TABLE high RENAME CONSTRAINT sales_id_fkey TO other_name; INSERT INTO sales VALUES (1, 1), (1, 9), (2, 2)",
        "DROP TABLE sales_1;",
        keeps=(*_ONE, "moved table public.high", "moved table public.low"),
    ),
    Case(
        "one of an identity",
        "CREATE TABLE sales (id int GENERATED BY DEFAULT AS IDENTITY, at int) PARTITION BY RANGE (at); CREATE TABLE sales_1 PARTITION OF sales"
        " FOR VALUES FROM (0) TO (10); CREATE TABLE sales_2 PARTITION OF sales DEFAULT; INSERT INTO sales (at) VALUES (1), (20)",
        "DROP TABLE sales_1;",
        keeps=_ONE,
        since=17,
        why="identity columns of partitioned tables",
    ),
    Case(
        "a hash partition with an unusual name",
        'CREATE TABLE "s %" (id int, t text) PARTITION BY HASH (id); CREATE TABLE "p ""1" PARTITION OF "s %" FOR VALUES WITH (MODULUS 2, REMAINDER 0);'
        'CREATE TABLE "p 2" PARTITION OF "s %" FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO "s %" SELECT n, n FROM generate_series(1, 9) AS n',
        'DROP TABLE "p ""1";',
        keeps=('defined partition public."p ""1" of public."s %"', 'moved table public."p ""1"'),
    ),
)
