"""Round trips of what ties tables together: partitions attached, detached and created, children of parents."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_WHOLE = (
    "CREATE TABLE o (id int PRIMARY KEY); INSERT INTO o VALUES (1), (2), (3);"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TABLE p (id int, k int REFERENCES o, note text CHECK (note <> ''), PRIMARY KEY (id, k)) PARTITION BY RANGE (id);"
    "CREATE INDEX p_note ON p (note); CREATE TRIGGER tr BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION f();"
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE rest PARTITION OF p DEFAULT;"
    "INSERT INTO p VALUES (1, 1, 'a'), (9, 2, NULL), (100, 3, 'z');"
)
_LONE = (
    "CREATE TABLE lone (id int NOT NULL, k int NOT NULL, note text, CONSTRAINT p_note_check CHECK (note <> ''));"
    "INSERT INTO lone VALUES (20, 1, 'l'), (29, 2, NULL);"
)
_CHILD = "CREATE TABLE par (a int, b text CHECK (b <> '')); INSERT INTO par VALUES (1, 'p');"

TIES = (
    Case(
        "partition detached",
        _WHOLE + "COMMENT ON TRIGGER tr ON p1 IS 'its own'; ALTER TABLE p1 DISABLE TRIGGER tr",
        "ALTER TABLE p DETACH PARTITION p1;",
        keeps=("changed table public.p", "changed table public.p1"),
        alters=True,
    ),
    Case(
        "default partition detached, then dropped",
        _WHOLE,
        "ALTER TABLE p DETACH PARTITION rest; DROP TABLE rest;",
        keeps=(
            "changed table public.p",
            "changed table public.rest",
            "defined table constraint p_k_fkey on public.rest",
            "moved table public.rest",
        ),
        alters=True,
    ),
    Case(
        "partition attached, with nothing that the whole has",
        _WHOLE + _LONE,
        "ALTER TABLE p ATTACH PARTITION lone FOR VALUES FROM (20) TO (30);",
        keeps=("changed table public.p", "changed table public.lone"),
        alters=True,
    ),
    Case(
        "partition attached, with all that the whole has",
        _WHOLE
        + _LONE
        + "ALTER TABLE lone ADD PRIMARY KEY (id, k), ADD CONSTRAINT fk FOREIGN KEY (k) REFERENCES o; CREATE INDEX mine ON lone (note)",
        "ALTER TABLE p ATTACH PARTITION lone FOR VALUES FROM (20) TO (30);",
        keeps=("changed table public.p", "changed table public.lone"),
        alters=True,
    ),
    Case(
        "partition attached as the default",
        _WHOLE.replace(" CREATE TABLE rest PARTITION OF p DEFAULT;", "").replace(", (100, 3, 'z')", "") + _LONE,
        "ALTER TABLE p ATTACH PARTITION lone DEFAULT;",
        keeps=("changed table public.p", "changed table public.lone"),
        alters=True,
    ),
    Case(
        "partition that is partitioned detached",
        _WHOLE + "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (60) PARTITION BY LIST (k);"
        "CREATE TABLE p2a PARTITION OF p2 DEFAULT; INSERT INTO p VALUES (51, 1, 'q')",
        "ALTER TABLE p DETACH PARTITION p2;",
        keeps=("changed table public.p", "changed table public.p2"),
        alters=True,
    ),
    Case(
        "partitions created, one of them the default, one filled",
        _WHOLE.replace(" CREATE TABLE rest PARTITION OF p DEFAULT;", "").replace(", (100, 3, 'z')", ""),
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (60); CREATE TABLE p3 PARTITION OF p DEFAULT;"
        "INSERT INTO p VALUES (55, 1, 'new');",
        keeps=(
            "changed table public.p",
            "created table public.p2",
            "changed table public.p",
            "created table public.p3",
            "copied rows public.p2",
        ),
        alters=True,
    ),
    Case(
        "partition created and attached, partitions swapped",
        _WHOLE,
        "CREATE TABLE p1_new (LIKE p INCLUDING ALL); ALTER TABLE p DETACH PARTITION p1;"
        "ALTER TABLE p ATTACH PARTITION p1_new FOR VALUES FROM (0) TO (10); ALTER TABLE p1 RENAME TO p1_old;",
        keeps=(
            "created table public.p1_new",
            "changed table public.p",
            "changed table public.p1",
            "changed table public.p",
            "changed table public.p1_new",
            "changed table public.p1",
        ),
        alters=True,
    ),
    Case(
        "partitions of a table with an identity detached and attached",
        "CREATE TABLE p (id int GENERATED ALWAYS AS IDENTITY, n int NOT NULL) PARTITION BY LIST (n);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE lone (n int NOT NULL, id int NOT NULL);"
        "INSERT INTO p (n) VALUES (1); INSERT INTO lone VALUES (2, 7)",
        "ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION lone FOR VALUES IN (2);",
        keeps=(
            "changed table public.p",
            "changed table public.p1",
            "changed table public.p",
            "changed table public.lone",
        ),
        alters=True,
        broken=("sequence public.p_id_seq",),
        since=17,
        why="identities of partitions",
    ),
    Case(
        "partition with rules for its rows, statistics and a key of its own",
        "CREATE TABLE o (id int PRIMARY KEY); CREATE TABLE p (id int NOT NULL, k int) PARTITION BY LIST (id);"
        "CREATE TABLE p1 PARTITION OF p (CONSTRAINT own CHECK (k > 0)) FOR VALUES IN (1, 2); INSERT INTO p VALUES (1, 1);"
        "ALTER TABLE p1 ADD CONSTRAINT fk FOREIGN KEY (k) REFERENCES o NOT VALID; CREATE STATISTICS st ON id, k FROM p1;"
        "CREATE POLICY pol ON p1; ALTER TABLE p1 ALTER k SET DEFAULT 5; CREATE UNIQUE INDEX u ON p1 (k)",
        "ALTER TABLE p DETACH PARTITION p1;",
        keeps=("changed table public.p", "changed table public.p1"),
        alters=True,
    ),
    Case(
        "child created",
        _CHILD,
        "CREATE TABLE chi (c int) INHERITS (par);",
        keeps=("changed table public.par", "created table public.chi"),
        alters=True,
    ),
    Case(
        "child of two, and like another",
        _CHILD + "CREATE TABLE par2 (a int, z int DEFAULT 3 NOT NULL)",
        "CREATE TABLE chi () INHERITS (par, par2); CREATE TABLE twin (LIKE par2 INCLUDING ALL);",
        keeps=(
            "changed table public.par",
            "changed table public.par2",
            "created table public.chi",
            "created table public.twin",
        ),
        alters=True,
    ),
    Case(
        "inherits from a parent",
        _CHILD
        + "CREATE TABLE chi (a int, b text, c int, CONSTRAINT par_b_check CHECK (b <> '')); INSERT INTO chi VALUES (2, 'c', 3)",
        "ALTER TABLE chi INHERIT par;",
        keeps=("changed table public.par", "changed table public.chi"),
        alters=True,
    ),
    Case(
        "inherits no more",
        _CHILD
        + "CREATE TABLE chi (a int, b text, c int, CONSTRAINT par_b_check CHECK (b <> '')); ALTER TABLE chi INHERIT par",
        "ALTER TABLE chi NO INHERIT par;",
        keeps=("changed table public.par", "changed table public.chi"),
        alters=True,
    ),
)
