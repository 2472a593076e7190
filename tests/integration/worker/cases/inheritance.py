"""Round trips of inheritance: a parent with its children, a child alone, a child of several parents."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

_PEOPLE = (
    "CREATE TABLE people (id int NOT NULL, name text DEFAULT 'x', CONSTRAINT positive CHECK (id > 0));"
    "CREATE TABLE staff (pay numeric) INHERITS (people); INSERT INTO people VALUES (1, 'a'); INSERT INTO staff VALUES (2, 'b', 5), (3, NULL, 6);"
)
_CHILD = ("defined inheritance public.staff of public.people", "moved table public.staff")

INHERITANCE = (
    Case(
        "parent with its child, accepted",
        _PEOPLE,
        "DROP TABLE people CASCADE;",
        accepts=("table public.staff",),
        keeps=("moved table public.people", "moved table public.staff"),
    ),
    Case(
        "parent with its child, both named",
        _PEOPLE,
        "DROP TABLE people, staff;",
        keeps=("moved table public.people", "moved table public.staff"),
    ),
    Case("child alone", _PEOPLE, "DROP TABLE staff;", gate="SELECT count(*) = 1 FROM people", keeps=_CHILD),
    Case(
        "child alone, with columns and constraints of its own too",
        "CREATE TABLE people (id int NOT NULL, name text, twice int GENERATED ALWAYS AS (id * 2) STORED, CONSTRAINT positive CHECK (id > 0),"
        " CONSTRAINT mine CHECK (id < 99) NO INHERIT); CREATE TABLE staff (name text DEFAULT 'own', id int PRIMARY KEY,"
        " CONSTRAINT positive CHECK (id > 0), CONSTRAINT own CHECK (name <> '')) INHERITS (people);"
        "INSERT INTO staff (id, name) VALUES (2, 'b'); COMMENT ON CONSTRAINT positive ON staff IS 'both'",
        "DROP TABLE staff;",
        keeps=_CHILD,
    ),
    Case(
        "child of several parents, in their order",
        "CREATE TABLE a (x int, common int); CREATE TABLE b (common int, y int); CREATE TABLE c () INHERITS (b, a); INSERT INTO c VALUES (1, 2, 3)",
        "DROP TABLE c;",
        keeps=("defined inheritance public.c of public.b, public.a", "moved table public.c"),
    ),
    Case(
        "child of several parents, of which one goes too",
        "CREATE TABLE a (x int, common int); CREATE TABLE b (common int, y int); CREATE TABLE c () INHERITS (a, b); INSERT INTO c VALUES (1, 2, 3)",
        "DROP TABLE a CASCADE;",
        accepts=("table public.c",),
        keeps=("defined inheritance public.c of public.a, public.b", "moved table public.a", "moved table public.c"),
    ),
    Case(
        "three generations, the middle one named",
        f"{_PEOPLE} CREATE TABLE chiefs (car text) INHERITS (staff); INSERT INTO chiefs VALUES (9, 'c', 1, 'vw')",
        "DROP TABLE staff CASCADE;",
        accepts=("table public.chiefs",),
        keeps=(*_CHILD, "moved table public.chiefs"),
    ),
    Case(
        "three generations in two schemas, all",
        f"CREATE SCHEMA s; {_PEOPLE} CREATE TABLE s.staff (car text) INHERITS (staff); INSERT INTO s.staff VALUES (9, 'c', 1, 'vw')",
        "DROP TABLE people, staff, s.staff;",
        keeps=("moved table public.people", "moved table public.staff", "moved table s.staff"),
    ),
    Case(
        "child that was made to inherit later, with a trigger, an index and a foreign key",
        "CREATE TABLE people (id int); CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1);"
        "CREATE TABLE staff (boss int REFERENCES users, id int); ALTER TABLE staff INHERIT people; CREATE INDEX by_boss ON staff (boss);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE INSERT ON staff FOR EACH ROW EXECUTE FUNCTION note(); INSERT INTO staff VALUES (1, 1)",
        "DROP TABLE staff;",
        keeps=(
            "defined table constraint staff_boss_fkey on public.staff",
            "defined trigger t on public.staff",
            *_CHILD,
        ),
    ),
    Case(
        "child beside a column of another table, copied",
        f"{_PEOPLE} CREATE TABLE shops (id int PRIMARY KEY, n int); INSERT INTO shops VALUES (1, 1)",
        "DROP TABLE staff; ALTER TABLE shops DROP n;",
        keeps=("copied table column public.shops.n", *_CHILD),
    ),
)
