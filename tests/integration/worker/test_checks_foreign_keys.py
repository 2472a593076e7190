"""Orphans of every kind of foreign key that can be declared: counted as the server itself would look for them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.harness import Engine, completed, not_ok


@dataclass(frozen=True)
class Case:
    """Tables with one foreign key and sound rows, then rows that the key would not let in, and how many break it."""

    given: str
    #: Written while no trigger fires.
    broken: str
    orphans: int
    name: str = "c_fkey of public.c"
    #: Oldest server that knows it.
    since: int = 150000


_PAIR = "CREATE TABLE p (a int, b text, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 'x');"

CASES = {
    "one column": Case(
        "CREATE TABLE p (a int PRIMARY KEY); INSERT INTO p VALUES (1);"
        "CREATE TABLE c (a int CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES (1), (NULL);",
        "INSERT INTO c VALUES (2), (3)",
        2,
    ),
    "match simple": Case(
        _PAIR + "CREATE TABLE c (a int, b text, CONSTRAINT c_fkey FOREIGN KEY (a, b) REFERENCES p);"
        "INSERT INTO c VALUES (1, 'x'), (9, NULL), (NULL, 'y'), (NULL, NULL);",
        "INSERT INTO c VALUES (1, 'y'), (8, NULL)",
        1,
    ),
    "match full": Case(
        _PAIR + "CREATE TABLE c (a int, b text, CONSTRAINT c_fkey FOREIGN KEY (a, b) REFERENCES p MATCH FULL);"
        "INSERT INTO c VALUES (1, 'x'), (NULL, NULL);",
        "INSERT INTO c VALUES (1, 'y'), (1, NULL), (NULL, 'x')",
        3,
    ),
    "columns in another order": Case(
        _PAIR + "CREATE TABLE c (x text, y int, CONSTRAINT c_fkey FOREIGN KEY (x, y) REFERENCES p (b, a));"
        "INSERT INTO c VALUES ('x', 1);",
        "INSERT INTO c VALUES ('y', 1)",
        1,
    ),
    "itself": Case(
        "CREATE TABLE c (a int PRIMARY KEY, up int CONSTRAINT c_fkey REFERENCES c);"
        "INSERT INTO c VALUES (1, NULL), (2, 1);",
        "INSERT INTO c VALUES (3, 4)",
        1,
    ),
    "names to be quoted": Case(
        'CREATE TABLE "P %s" ("it\'s" int PRIMARY KEY); INSERT INTO "P %s" VALUES (1);'
        'CREATE TABLE "C ""x""" ("a %I" int CONSTRAINT "f \'k\'" REFERENCES "P %s"); INSERT INTO "C ""x""" VALUES (1);',
        'INSERT INTO "C ""x""" VALUES (2)',
        1,
        name='"f \'k\'" of public."C ""x"""',
    ),
    "types that differ": Case(
        "CREATE TABLE p (a numeric PRIMARY KEY); INSERT INTO p VALUES (1.0);"
        "CREATE TABLE c (a int CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES (1);",
        "INSERT INTO c VALUES (2)",
        1,
    ),
    "padded text": Case(
        "CREATE TABLE p (a text PRIMARY KEY); INSERT INTO p VALUES ('ab');"
        "CREATE TABLE c (a char(5) CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES ('ab');",
        "INSERT INTO c VALUES ('abc')",
        1,
    ),
    "collations that differ": Case(
        "CREATE TABLE p (a text COLLATE \"C\" PRIMARY KEY); INSERT INTO p VALUES ('x');"
        "CREATE TABLE c (a text COLLATE \"POSIX\" CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES ('x');",
        "INSERT INTO c VALUES ('y')",
        1,
    ),
    "enum": Case(
        "CREATE TYPE e AS ENUM ('x', 'y'); CREATE TABLE p (a e PRIMARY KEY);"
        "INSERT INTO p VALUES ('x'); CREATE TABLE c (a e CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES ('x');",
        "INSERT INTO c VALUES ('y')",
        1,
    ),
    "domain": Case(
        "CREATE DOMAIN d AS text; CREATE TABLE p (a text PRIMARY KEY); INSERT INTO p VALUES ('x');"
        "CREATE TABLE c (a d CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES ('x');",
        "INSERT INTO c VALUES ('y')",
        1,
    ),
    "composite": Case(
        "CREATE TYPE k AS (x int, y int); CREATE TABLE p (a k PRIMARY KEY); INSERT INTO p VALUES (ROW(1, NULL));"
        "CREATE TABLE c (a k CONSTRAINT c_fkey REFERENCES p); INSERT INTO c VALUES (ROW(1, NULL)), (NULL);",
        "INSERT INTO c VALUES (ROW(2, NULL))",
        1,
    ),
    "partitioned both": Case(
        "CREATE TABLE p (a int PRIMARY KEY) PARTITION BY RANGE (a);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1);"
        "CREATE TABLE c (a int CONSTRAINT c_fkey REFERENCES p) PARTITION BY LIST (a);"
        "CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); CREATE TABLE c2 PARTITION OF c DEFAULT;"
        "INSERT INTO c VALUES (1);",
        "INSERT INTO c VALUES (5), (NULL)",
        1,
    ),
    "of one partition": Case(
        "CREATE TABLE p (a int PRIMARY KEY); INSERT INTO p VALUES (1);"
        "CREATE TABLE w (a int) PARTITION BY LIST (a); CREATE TABLE c PARTITION OF w FOR VALUES IN (1, 2);"
        "ALTER TABLE c ADD CONSTRAINT c_fkey FOREIGN KEY (a) REFERENCES p; INSERT INTO w VALUES (1);",
        "INSERT INTO w VALUES (2)",
        1,
    ),
    "children are others": Case(
        # A key binds no child of its table, and no child's row stands for one of the parent.
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE p1 () INHERITS (p); INSERT INTO p VALUES (1);"
        "INSERT INTO p1 VALUES (2); CREATE TABLE c (a int CONSTRAINT c_fkey REFERENCES p);"
        "CREATE TABLE c1 () INHERITS (c); INSERT INTO c VALUES (1); INSERT INTO c1 VALUES (7);",
        "INSERT INTO c VALUES (2)",
        1,
    ),
    "period": Case(
        "CREATE TABLE p (b int4range, a int4range, PRIMARY KEY (b, a WITHOUT OVERLAPS));"
        "INSERT INTO p VALUES ('[1,2)', '[1,5)'), ('[1,2)', '[5,9)');"
        "CREATE TABLE c (b int4range, a int4range,"
        "  CONSTRAINT c_fkey FOREIGN KEY (b, PERIOD a) REFERENCES p (b, PERIOD a));"
        "INSERT INTO c VALUES ('[1,2)', '[2,8)'), (NULL, '[1,99)');",
        "INSERT INTO c VALUES ('[1,2)', '[2,12)'), ('[2,3)', '[1,2)')",
        2,
        since=180000,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_orphans(engine: Engine, case: Case) -> None:
    """Rows that hold the key are no orphans, as its MATCH rule says; rows that do not are counted."""
    if engine.session.server_version < case.since:
        pytest.skip(f"this server is older than {case.since}")
    engine.owner(case.given)
    completed(engine.validate())
    engine.admin(f"SET session_replication_role = replica; {case.broken}")

    done = engine.validate()

    told = {name: (status, count) for name, (status, count, _) in not_ok(done).items()}
    assert told == {f"foreign key {case.name}": ("fail", case.orphans)}


def test_not_enforced(engine: Engine) -> None:
    """A key that the server does not hold rows to is no failure, and is named all the same."""
    if engine.session.server_version < 180000:
        pytest.skip("only 18 knows NOT ENFORCED")
    engine.owner(
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (a int CONSTRAINT c_fkey REFERENCES p NOT ENFORCED,"
        " CONSTRAINT c_check CHECK (a > 0) NOT ENFORCED); INSERT INTO c VALUES (-1)"
    )

    told = not_ok(engine.validate())

    assert {name: status for name, (status, _, _) in told.items()} == {
        "foreign key c_fkey of public.c": "warn",
        "unvalidated constraint c_check of public.c": "warn",
    }


def test_rows_that_policies_hide(engine: Engine) -> None:
    """Where policies bind the worker, nothing is counted, and the check says so instead of counting what it sees."""
    engine.owner(
        "CREATE TABLE p (a int PRIMARY KEY); INSERT INTO p VALUES (1); CREATE TABLE c (id serial, a int"
        " CONSTRAINT c_fkey REFERENCES p); INSERT INTO c (a) VALUES (1);"
        "ALTER TABLE c ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY none ON c USING (false)"
    )
    engine.admin("SET session_replication_role = replica; INSERT INTO c (a) VALUES (2)")

    told = not_ok(engine.validate())

    assert {name: (status, count) for name, (status, count, _) in told.items()} == {
        "foreign key c_fkey of public.c": ("warn", None),
        "sequence public.c_id_seq": ("warn", None),
    }
    assert all("row-level security" in detail for _, _, detail in told.values())
