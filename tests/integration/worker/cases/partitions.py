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

#: Partitions of every shape: made as one, attached with columns in another order, and one with partitions of its own.
_FAMILY = (
    "CREATE TABLE sales (id int, at int, n int DEFAULT 1, t text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE sales_2 (t text, gone int, at int NOT NULL, n int DEFAULT 2, id int NOT NULL); ALTER TABLE sales_2 DROP gone;"
    "ALTER TABLE sales ATTACH PARTITION sales_2 FOR VALUES FROM (10) TO (20);"
    "CREATE TABLE sales_3 PARTITION OF sales FOR VALUES FROM (20) TO (MAXVALUE) PARTITION BY LIST (id);"
    "CREATE TABLE sales_3a PARTITION OF sales_3 FOR VALUES IN (20, 21); CREATE TABLE sales_3b PARTITION OF sales_3 DEFAULT;"
    "INSERT INTO sales SELECT n, n, nullif(n % 3, 0), 't' || n FROM generate_series(1, 30) AS n;"
)
_N = "copied table column public.sales.n"

#: What is said to a partitioned table, and so to all of its partitions.
PARTS_OF_PARTITIONED = (
    Case("a column", _FAMILY, "ALTER TABLE sales DROP COLUMN n;", keeps=(_N,)),
    Case(
        "several columns, of sub-partitions too",
        _FAMILY,
        "ALTER TABLE sales DROP COLUMN n, DROP COLUMN t;",
        keeps=(_N, "copied table column public.sales.t"),
    ),
    Case(
        "a column with settings, comments and grants of each partition's own",
        f"{_FAMILY} ALTER TABLE sales ALTER t SET STORAGE EXTERNAL, ALTER t SET STATISTICS 7; ALTER TABLE sales_1 ALTER t SET STATISTICS 9;"
        "ALTER TABLE sales_2 ALTER t SET STORAGE MAIN, ALTER t SET DEFAULT 'x', ALTER t SET (n_distinct = 5); COMMENT ON COLUMN sales.t IS 'whole';"
        "COMMENT ON COLUMN sales_3a.t IS 'part'; GRANT SELECT (t) ON sales_3 TO PUBLIC; ALTER TABLE ONLY sales_3 ALTER t SET DEFAULT 'three'",
        "ALTER TABLE sales DROP COLUMN t;",
        keeps=("copied table column public.sales.t",),
    ),
    Case(
        "a column that is NOT NULL, from the whole",
        f"{_FAMILY} ALTER TABLE sales ALTER t SET NOT NULL",
        "ALTER TABLE sales DROP COLUMN t;",
        keeps=("copied table column public.sales.t",),
        keeps_18=("defined table constraint sales_t_not_null on public.sales",),
    ),
    Case(
        "a column that is NOT NULL in some partitions only",
        f"{_FAMILY} ALTER TABLE sales_2 ALTER t SET NOT NULL; ALTER TABLE sales_3 ALTER t SET NOT NULL",
        "ALTER TABLE sales DROP COLUMN t;",
        keeps=("copied table column public.sales.t",),
        keeps_18=(
            "defined table constraint sales_2_t_not_null on public.sales_2",
            "defined table constraint sales_3_t_not_null on public.sales_3",
        ),
    ),
    Case(
        "a column that a partition made NOT NULL before the whole",
        f"{_FAMILY} ALTER TABLE sales_2 ALTER t SET NOT NULL; ALTER TABLE sales ALTER t SET NOT NULL",
        "ALTER TABLE sales DROP COLUMN t;",
        keeps=("copied table column public.sales.t",),
        keeps_18=("defined table constraint sales_t_not_null on public.sales",),
    ),
    Case(
        "a column with indexes and checks of the whole and of partitions",
        f"{_FAMILY} CREATE INDEX whole ON sales (n, t); CREATE INDEX own ON sales_2 (n DESC); ALTER INDEX sales_1_n_t_idx RENAME TO other_name;"
        "COMMENT ON INDEX sales_3a_n_t_idx IS 'deep'; ALTER TABLE sales ADD CONSTRAINT few CHECK (n < 9); ALTER TABLE sales_1 ADD CONSTRAINT fewer CHECK (n < 8);"
        "COMMENT ON CONSTRAINT few ON sales_2 IS 'in part'",
        "ALTER TABLE sales DROP COLUMN n;",
        keeps=(
            _N,
            "defined index public.own",
            "defined index public.whole",
            "defined table constraint few on public.sales",
            "defined table constraint fewer on public.sales_1",
        ),
    ),
    Case(
        "a column with foreign key, statistics and triggers that would see the way back",
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 2);"
        f"{_FAMILY} ALTER TABLE sales ADD FOREIGN KEY (n) REFERENCES users; CREATE STATISTICS s ON n, t FROM sales_2;"
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.t := ''spoilt''; RETURN NEW; END';"
        "CREATE TRIGGER whole BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION spoil(); ALTER TABLE sales_1 ENABLE ALWAYS TRIGGER whole;"
        "CREATE TRIGGER own BEFORE UPDATE ON sales_3b FOR EACH ROW EXECUTE FUNCTION spoil(); ALTER TABLE ONLY sales_3 DISABLE TRIGGER whole",
        "ALTER TABLE sales DROP COLUMN n;",
        keeps=(_N, "defined statistics object public.s", "defined table constraint sales_n_fkey on public.sales"),
    ),
    Case(
        "generated columns",
        "CREATE TABLE sales (id int, at int, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10); CREATE TABLE sales_2 PARTITION OF sales DEFAULT;"
        "INSERT INTO sales SELECT n, n, n FROM generate_series(1, 20) AS n",
        "ALTER TABLE sales DROP COLUMN n, DROP COLUMN twice;",
        keeps=(_N, "copied table column public.sales.twice"),
    ),
    Case(
        "a column of a table whose policies bind its owner",
        f"{_FAMILY} ALTER TABLE sales ENABLE ROW LEVEL SECURITY; ALTER TABLE sales FORCE ROW LEVEL SECURITY; CREATE POLICY none ON sales USING (n > 5);"
        "ALTER TABLE sales_1 ENABLE ROW LEVEL SECURITY; ALTER TABLE sales_1 FORCE ROW LEVEL SECURITY",
        "ALTER TABLE sales DROP COLUMN t;",
        keeps=("copied table column public.sales.t",),
    ),
    Case(
        "a serial column",
        "CREATE TABLE sales (id int, at int, n serial, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (10); CREATE TABLE sales_2 PARTITION OF sales DEFAULT;"
        "INSERT INTO sales SELECT n, n FROM generate_series(1, 20) AS n",
        "ALTER TABLE sales DROP COLUMN n;",
        keeps=(_N, "moved sequence public.sales_n_seq"),
        keeps_18=("defined table constraint sales_n_not_null on public.sales",),
    ),
    Case(
        "a column that views and a view of one partition read",
        f"{_FAMILY} CREATE VIEW v AS SELECT n FROM sales; CREATE VIEW v2 AS SELECT n, t FROM sales_2",
        "ALTER TABLE sales DROP COLUMN n CASCADE;",
        accepts=("view public.v", "view public.v2"),
        keeps=(_N, "defined view public.v", "defined view public.v2"),
    ),
    Case(
        "a column and its type",
        f"CREATE TYPE mood AS ENUM ('sad', 'ok'); {_FAMILY} ALTER TABLE sales ADD mood mood DEFAULT 'ok'; UPDATE sales SET mood = 'sad' WHERE id > 25",
        "ALTER TABLE sales DROP COLUMN mood; DROP TYPE mood;",
        keeps=("copied table column public.sales.mood", "moved type public.mood"),
    ),
    Case(
        "a column of a table without a primary key, which is published as one",
        "CREATE TABLE sales (id int NOT NULL, n int, t text, UNIQUE (id)) PARTITION BY RANGE (id); CREATE TABLE sales_1 PARTITION OF sales FOR VALUES"
        " FROM (0) TO (10); CREATE TABLE sales_2 PARTITION OF sales DEFAULT; INSERT INTO sales SELECT n, n, 't' FROM generate_series(1, 20) AS n;"
        "CREATE PUBLICATION p FOR TABLE sales WITH (publish_via_partition_root)",
        "ALTER TABLE sales DROP COLUMN n;",
        keeps=(_N,),
    ),
    # -- indexes
    Case(
        "an index, with names, settings and comments of each partition's own",
        f"{_FAMILY} CREATE INDEX whole ON sales (n) INCLUDE (t); ALTER INDEX sales_1_n_t_idx RENAME TO other_name; COMMENT ON INDEX whole IS 'whole';"
        "COMMENT ON INDEX sales_2_n_t_idx IS 'part'; ALTER INDEX sales_3a_n_t_idx SET (fillfactor = 50); ALTER TABLE sales_2 CLUSTER ON sales_2_n_t_idx",
        "DROP INDEX whole;",
        keeps=("defined index public.whole",),
    ),
    Case(
        "an index that partitions had before, each otherwise, under a name with ON ONLY in it",
        f'{_FAMILY} CREATE INDEX "own ON ONLY one" ON sales_2 (n DESC); CREATE INDEX deep ON sales_3 (n); CREATE INDEX "i ON ONLY ""x" ON sales (n)',
        'DROP INDEX "i ON ONLY ""x";',
        keeps=('defined index public."i ON ONLY ""x"',),
    ),
    Case(
        "a unique index over an expression, and one more of a partition alone",
        f"{_FAMILY} CREATE UNIQUE INDEX once ON sales (at, id, n); CREATE INDEX lowered ON sales (lower(t), at); CREATE INDEX own ON sales_1 (t)",
        "DROP INDEX once, lowered, own;",
        keeps=("defined index public.lowered", "defined index public.once", "defined index public.own"),
    ),
    Case(
        "an index in another's place",
        f"{_FAMILY} CREATE INDEX by_n ON sales (n)",
        "DROP INDEX by_n; CREATE INDEX by_both ON sales (n, t);",
        keeps=("defined index public.by_n", "created index public.by_both"),
        alters=True,
    ),
    # -- what is run as written
    Case(
        "a column that the rollback adds",
        _FAMILY,
        "ALTER TABLE sales ADD COLUMN more int DEFAULT 5, ADD COLUMN other text;",
        keeps=tuple(
            f"created table column public.{table}.{column}"
            for table in ("sales", "sales_1", "sales_2", "sales_3", "sales_3a", "sales_3b")
            for column in ("more", "other")
        ),
        alters=True,
    ),
    Case(
        "a default that goes, with those of partitions",
        _FAMILY,
        "ALTER TABLE sales ALTER COLUMN n DROP DEFAULT;",
        keeps=("changed table column public.sales.n",),
        alters=True,
    ),
    Case(
        "a default that comes",
        f"{_FAMILY} ALTER TABLE sales_3a ALTER t SET DEFAULT 'a'; ALTER TABLE ONLY sales_3 ALTER t SET DEFAULT 'three'",
        "ALTER TABLE sales ALTER COLUMN t SET DEFAULT 'all';",
        keeps=("changed table column public.sales.t",),
        alters=True,
    ),
    Case(
        "NOT NULL that goes",
        f"{_FAMILY} ALTER TABLE sales ALTER t SET NOT NULL",
        "ALTER TABLE sales ALTER COLUMN t DROP NOT NULL;",
        keeps=("changed table column public.sales.t",),
        alters=True,
    ),
    Case(
        "NOT NULL that comes, where some partitions have it",
        f"{_FAMILY} ALTER TABLE sales_2 ALTER t SET NOT NULL; ALTER TABLE sales_3a ALTER t SET NOT NULL",
        "ALTER TABLE sales ALTER COLUMN t SET NOT NULL;",
        keeps=("changed table column public.sales.t",),
        keeps_18=tuple(
            f"created table constraint sales_t_not_null on public.{table}"
            for table in ("sales", "sales_1", "sales_3", "sales_3b")
        ),
        alters=True,
    ),
    Case(
        "NOT NULL and default at once, where a partition had NOT NULL before",
        f"{_FAMILY} ALTER TABLE sales_2 ALTER t SET NOT NULL; ALTER TABLE sales ALTER t SET NOT NULL, ALTER t SET DEFAULT 'x'",
        "ALTER TABLE sales ALTER COLUMN t DROP NOT NULL, ALTER COLUMN t DROP DEFAULT;",
        keeps=("changed table column public.sales.t", "changed table column public.sales.t"),
        alters=True,
    ),
    Case(
        "settings of a column",
        f"{_FAMILY} ALTER TABLE sales_2 ALTER t SET STATISTICS 9, ALTER t SET STORAGE MAIN; CREATE INDEX by_t ON sales (t)",
        "ALTER TABLE sales ALTER COLUMN t SET STATISTICS 7, ALTER COLUMN t SET STORAGE EXTERNAL;",
        keeps=("changed table column public.sales.t", "changed table column public.sales.t"),
        alters=True,
    ),
    Case(
        "a column renamed, with an index over it",
        f"{_FAMILY} CREATE INDEX by_n ON sales (n)",
        "ALTER TABLE sales RENAME COLUMN n TO m;",
        keeps=("changed table column public.sales.n",),
        alters=True,
    ),
    Case(
        "triggers switched off, where partitions have them otherwise",
        f"{_NOTE}{_FAMILY} CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note();"
        "ALTER TABLE sales_2 DISABLE TRIGGER whole; ALTER TABLE ONLY sales_3 ENABLE ALWAYS TRIGGER whole",
        "ALTER TABLE sales DISABLE TRIGGER whole; ALTER TABLE sales ENABLE REPLICA TRIGGER whole;",
        keeps=("changed trigger whole on public.sales", "changed trigger whole on public.sales"),
        alters=True,
    ),
    Case(
        "triggers switched off in a sub-partitioned one alone",
        f"{_NOTE}{_FAMILY} CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales_3b DISABLE TRIGGER whole",
        "ALTER TABLE sales_3 DISABLE TRIGGER USER;",
        keeps=("changed table public.sales_3",),
        alters=True,
    ),
    # -- together
    Case(
        "a partition, then a column of the whole",
        f"{_FAMILY} COMMENT ON COLUMN sales_1.n IS 'one'",
        "DROP TABLE sales_1; ALTER TABLE sales DROP COLUMN n;",
        keeps=(_N, *_ONE),
        alters=True,
    ),
    Case(
        "a partition, then index, check and trigger of the whole",
        f"{_NOTE}{_FAMILY} CREATE INDEX by_n ON sales (n); ALTER TABLE sales ADD CONSTRAINT few CHECK (n < 9);"
        "CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP TABLE sales_1; DROP INDEX by_n; ALTER TABLE sales DROP CONSTRAINT few; DROP TRIGGER whole ON sales;",
        keeps=(
            "defined index public.by_n",
            "defined table constraint few on public.sales",
            "defined trigger whole on public.sales",
            *_ONE,
        ),
        alters=True,
    ),
    # -- constraints and triggers
    Case(
        "a check, NOT VALID but in one partition",
        f"{_FAMILY} ALTER TABLE sales ADD CONSTRAINT few CHECK (n < 9) NOT VALID; ALTER TABLE sales_1 VALIDATE CONSTRAINT few;"
        "COMMENT ON CONSTRAINT few ON sales IS 'whole'; COMMENT ON CONSTRAINT few ON sales_3b IS 'deep'",
        "ALTER TABLE sales DROP CONSTRAINT few;",
        keeps=("defined table constraint few on public.sales",),
    ),
    Case(
        "a check in another's place",
        f"{_FAMILY} ALTER TABLE sales ADD CONSTRAINT few CHECK (n < 9)",
        "ALTER TABLE sales DROP CONSTRAINT few; ALTER TABLE sales ADD CONSTRAINT few CHECK (n < 5) NOT VALID;",
        keeps=(
            "defined table constraint few on public.sales",
            *(
                f"created table constraint few on public.{table}"
                for table in ("sales", "sales_1", "sales_2", "sales_3", "sales_3a", "sales_3b")
            ),
        ),
        alters=True,
    ),
    Case(
        "NOT NULL by its name",
        f"{_FAMILY} ALTER TABLE sales_2 ADD CONSTRAINT own NOT NULL t; ALTER TABLE sales ADD CONSTRAINT there NOT NULL t",
        "ALTER TABLE sales DROP CONSTRAINT there;",
        keeps=("defined table constraint there on public.sales",),
        alters=True,
        since=18,
        why="names of NOT NULL",
    ),
    Case(
        "a foreign key of the whole",
        f"CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 2); {_FAMILY}"
        "ALTER TABLE sales ADD CONSTRAINT who FOREIGN KEY (n) REFERENCES users; ALTER TABLE sales_3a RENAME CONSTRAINT who TO whose",
        "ALTER TABLE sales DROP CONSTRAINT who;",
        keeps=("defined table constraint who on public.sales",),
    ),
    Case(
        "triggers, with the states of partitions",
        f"{_NOTE}{_FAMILY} CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note();"
        "CREATE TRIGGER quiet BEFORE UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE sales DISABLE TRIGGER quiet;"
        "ALTER TABLE ONLY sales_3 DISABLE TRIGGER whole; ALTER TABLE sales_2 ENABLE ALWAYS TRIGGER quiet; COMMENT ON TRIGGER whole ON sales_3a IS 'deep';"
        "CREATE TRIGGER said AFTER DELETE ON sales REFERENCING OLD TABLE AS old FOR EACH STATEMENT EXECUTE FUNCTION note()",
        "DROP TRIGGER whole ON sales; DROP TRIGGER quiet ON sales; DROP TRIGGER said ON sales; DROP FUNCTION note;",
        keeps=(
            "defined function public.note()",
            "defined trigger quiet on public.sales",
            "defined trigger said on public.sales",
            "defined trigger whole on public.sales",
        ),
    ),
    Case(
        "a trigger that the rollback makes",
        f"{_NOTE}{_FAMILY}",
        "CREATE TRIGGER whole AFTER INSERT ON sales FOR EACH ROW EXECUTE FUNCTION note();",
        keeps=("created trigger whole on public.sales",),
        alters=True,
    ),
    Case(
        "what a partition has of its own",
        f"{_NOTE}{_FAMILY} CREATE INDEX own ON sales_2 (t); ALTER TABLE sales_2 ADD CONSTRAINT few CHECK (n < 9);"
        "CREATE TRIGGER own AFTER INSERT ON sales_3a FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP INDEX own; ALTER TABLE sales_2 DROP CONSTRAINT few; DROP TRIGGER own ON sales_3a;",
        keeps=(
            "defined index public.own",
            "defined table constraint few on public.sales_2",
            "defined trigger own on public.sales_3a",
        ),
    ),
)
