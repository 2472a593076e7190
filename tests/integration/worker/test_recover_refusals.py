"""Recoveries that are refused: nothing to bring back, or something in its way. What is kept is kept still."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ledger.model import Run
from tests.harness import Engine, completed, ended

_GIVEN = """
CREATE SCHEMA app;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE users (id int PRIMARY KEY, email text);
CREATE TABLE app.orders (id serial PRIMARY KEY, u int REFERENCES users, mood mood DEFAULT 'ok');
CREATE TABLE people (id int PRIMARY KEY, code text NOT NULL UNIQUE, c int, d int REFERENCES users);
CREATE INDEX by_email ON users (email);
CREATE TABLE parts (id int, t text) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE rest PARTITION OF parts DEFAULT;
CREATE TABLE folk (id int, t text); CREATE TABLE child () INHERITS (folk);
CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM users;
CREATE SEQUENCE numbers;
CREATE DOMAIN percent AS int;
CREATE TYPE span AS RANGE (subtype = int8, multirange_type_name = spans);
CREATE SCHEMA empty;
CREATE TABLE logs (n int, c text); INSERT INTO logs VALUES (1, 'a'), (2, 'b'), (3, 'c');
INSERT INTO parts VALUES (1, 'a'), (99, 'b'); INSERT INTO child VALUES (7, 'y');
INSERT INTO users VALUES (1, 'a'); INSERT INTO app.orders (u) VALUES (1); INSERT INTO people VALUES (1, 'x', 1, 1);
"""

_TABLE = "DROP TABLE app.orders;"
_COLUMN = "ALTER TABLE people DROP COLUMN c;"


@dataclass(frozen=True)
class Obstacle:
    """What was rolled back, what happened since, and why it cannot come back."""

    name: str
    plan: str
    #: Run by the superuser, with {inside} for the place in quarantine.
    since: str
    says: str
    #: Takes the obstacle away again; empty where nothing can.
    cure: str = ""


OBSTACLES = [
    Obstacle("table", _TABLE, "CREATE TABLE app.orders ()", '"app"."orders" exists again', "DROP TABLE app.orders"),
    Obstacle("view", _TABLE, "CREATE VIEW app.orders AS SELECT 1", '"app"."orders" exists', "DROP VIEW app.orders"),
    Obstacle(
        "sequence",
        _TABLE,
        "CREATE SEQUENCE app.orders_id_seq",
        '"orders_id_seq" exists',
        "DROP SEQUENCE app.orders_id_seq",
    ),
    Obstacle(
        "index of a table",
        _TABLE,
        "CREATE TABLE app.t (id int CONSTRAINT orders_pkey PRIMARY KEY)",
        '"app"."orders_pkey" exists again',
        "DROP TABLE app.t",
    ),
    Obstacle(
        "referenced table gone",
        _TABLE,
        "ALTER TABLE users RENAME TO members",
        'table "public"."users", which table constraint orders_u_fkey on app.orders belongs to or refers to',
        "ALTER TABLE members RENAME TO users",
    ),
    Obstacle(
        "schema gone",
        _TABLE,
        "ALTER SCHEMA app RENAME TO application",
        "schema app does not exist any more",
        "ALTER SCHEMA application RENAME TO app",
    ),
    Obstacle(
        "preserved table gone", _TABLE, "DROP TABLE {inside} CASCADE", "table app.orders is no longer in emergency"
    ),
    Obstacle(
        "index",
        "DROP INDEX by_email;",
        "CREATE INDEX by_email ON users (id)",
        '"by_email" exists',
        "DROP INDEX by_email",
    ),
    Obstacle(
        "table of an index gone",
        "DROP INDEX by_email;",
        "ALTER TABLE users RENAME TO members",
        'table "public"."users", which index public.by_email',
        "ALTER TABLE members RENAME TO users",
    ),
    Obstacle(
        "column",
        _COLUMN,
        "ALTER TABLE people ADD c text",
        'column c of "public"."people" exists again',
        "ALTER TABLE people DROP c",
    ),
    Obstacle(
        "table of a column gone",
        _COLUMN,
        "ALTER TABLE people RENAME TO persons",
        'table "public"."people", which table column public.people.c',
        "ALTER TABLE persons RENAME TO people",
    ),
    Obstacle(
        "row of a table without a key changed",
        "ALTER TABLE logs DROP c;",
        "UPDATE logs SET n = 5 WHERE n = 2",
        '1 row(s) of "public"."logs" were changed since',
        "UPDATE logs SET n = 2 WHERE n = 5",
    ),
    Obstacle(
        "key of a column renamed",
        _COLUMN,
        "ALTER TABLE people RENAME id TO number",
        "has lost id, which its values are kept by",
        "ALTER TABLE people RENAME number TO id",
    ),
    Obstacle(
        "copy gone", _COLUMN, "DROP TABLE {inside} CASCADE", "table column public.people.c is no longer in emergency"
    ),
    Obstacle(
        "referenced table of a column gone",
        "ALTER TABLE people DROP COLUMN d;",
        "ALTER TABLE users RENAME TO members",
        'table "public"."users", which table constraint people_d_fkey',
        "ALTER TABLE members RENAME TO users",
    ),
    Obstacle(
        "type",
        "DROP TABLE app.orders; DROP TYPE mood;",
        "CREATE TYPE mood AS ENUM ('new')",
        'type "public"."mood" exists again',
        "DROP TYPE mood",
    ),
    Obstacle(
        "preserved type gone",
        "DROP TABLE app.orders; DROP TYPE mood;",
        "DO $$BEGIN EXECUTE (SELECT 'DROP TYPE ' || oid::regtype || ' CASCADE' FROM pg_type WHERE typname = 'mood');"
        " END$$",
        "type public.mood is no longer in emergency",
    ),
    Obstacle(
        "sequence alone", "DROP SEQUENCE numbers;", "CREATE TABLE numbers ()", '"numbers" exists', "DROP TABLE numbers"
    ),
    Obstacle(
        "preserved sequence gone",
        "DROP SEQUENCE numbers;",
        "DO $$BEGIN EXECUTE (SELECT 'DROP SEQUENCE ' || oid::regclass FROM pg_class WHERE relname = 'numbers'); END$$",
        "sequence public.numbers is no longer in emergency",
    ),
    Obstacle(
        "sequence owned by a column that is gone",
        "DROP SEQUENCE app.orders_id_seq CASCADE;",
        "ALTER TABLE app.orders RENAME TO old",
        'table "app"."orders", which sequence app.orders_id_seq',
        "ALTER TABLE app.old RENAME TO orders",
    ),
    Obstacle(
        "materialized view",
        "DROP MATERIALIZED VIEW sums;",
        "CREATE VIEW sums AS SELECT 1",
        '"public"."sums" exists again',
        "DROP VIEW sums",
    ),
    Obstacle(
        "domain", "DROP DOMAIN percent;", "CREATE DOMAIN percent AS text", '"percent" exists', "DROP DOMAIN percent"
    ),
    Obstacle(
        "range",
        "DROP TYPE span;",
        "CREATE TYPE spans AS ENUM ('x'); CREATE FUNCTION span(bigint, bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        'type "public"."spans" exists again; function public.span(bigint,bigint) exists again',
        "DROP TYPE spans; DROP FUNCTION span(bigint, bigint)",
    ),
    Obstacle("schema", "DROP SCHEMA empty;", "CREATE SCHEMA empty", 'schema "empty" exists again', "DROP SCHEMA empty"),
    Obstacle(
        "bound of a partition",
        "DROP TABLE part;",
        "CREATE TABLE new PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "new has the bound of partition public.part of public.parts",
        "DROP TABLE new",
    ),
    Obstacle(
        "rows in the default partition",
        "DROP TABLE part;",
        "INSERT INTO parts VALUES (5, 'new')",
        "rest, the default partition, has rows that belong to partition",
        "DELETE FROM parts WHERE id = 5",
    ),
    Obstacle(
        "whole of a partition gone",
        "DROP TABLE part;",
        "ALTER TABLE parts RENAME TO pieces",
        'table "public"."parts", which partition',
        "ALTER TABLE pieces RENAME TO parts",
    ),
    Obstacle(
        "parent of a child gone",
        "DROP TABLE child;",
        "ALTER TABLE folk RENAME TO persons",
        'table "public"."folk", which inheritance',
        "ALTER TABLE persons RENAME TO folk",
    ),
    Obstacle(
        "stand-in of a parent gone",
        "DROP TABLE child;",
        "DO $$BEGIN EXECUTE (SELECT 'DROP TABLE ' || inhparent::regclass || ' CASCADE' FROM pg_inherits"
        " WHERE inhrelid = (SELECT oid FROM pg_class WHERE relname = 'child')); END$$",
        "inheritance public.child of public.folk is no longer in emergency",
    ),
]


def assert_refused(run: Run, code: str, says: str) -> None:
    """See that a recovery was refused with a code and words."""
    assert ended(run).startswith(f"refused: {code}: "), ended(run)
    assert says in ended(run)


@pytest.mark.parametrize("case", OBSTACLES, ids=lambda case: case.name)
def test_what_stands_in_the_way_is_named(engine: Engine, case: Obstacle) -> None:
    """A recovery that cannot be exact is refused with the reason; once the reason is gone, it is carried out."""
    engine.owner(_GIVEN)
    engine.plan(case.plan)
    before = engine.picture()
    run = completed(engine.rollback())
    places = [row.inside for row in engine.kept(run) if row.inside is not None]
    engine.admin(case.since.replace("{inside}", places[0] if places else ""))
    obstructed = engine.picture()

    refused = engine.recover(run)

    assert_refused(refused, "conflict", case.says)
    assert engine.events(refused)[-1].type == "run_refused"
    assert engine.registry() == ["completed"]
    assert engine.picture() == obstructed
    if case.cure:
        engine.admin(case.cure)
        completed(engine.recover(run))
        assert engine.picture() == before
        assert engine.registry() == ["recovered"]


def test_all_obstacles_are_named_at_once(engine: Engine) -> None:
    """One refusal lists everything that stands in the way."""
    engine.owner(_GIVEN)
    engine.plan(f"{_TABLE} {_COLUMN} DROP INDEX by_email;")
    run = completed(engine.rollback())
    engine.owner("CREATE TABLE app.orders (); ALTER TABLE people ADD c int; CREATE INDEX by_email ON users (id)")

    refused = engine.recover(run)

    for says in (
        '"app"."orders" exists again',
        'column c of "public"."people" exists again',
        '"by_email" exists again',
    ):
        assert_refused(refused, "conflict", says)


def test_run_that_was_refused(engine: Engine) -> None:
    """A refused rollback keeps nothing."""
    engine.plan("DROP TABLE gone;")

    assert_refused(engine.recover(engine.rollback()), "nothing_to_recover", "never completed")


def test_run_that_failed(engine: Engine) -> None:
    """A failed rollback keeps nothing."""
    engine.owner(_GIVEN)
    engine.plan(_TABLE, verify="SELECT false")

    assert_refused(engine.recover(engine.rollback()), "nothing_to_recover", "never completed")


def test_run_that_was_recovered_already(engine: Engine) -> None:
    """A second recovery says which run was the first, and changes nothing."""
    engine.owner(_GIVEN)
    engine.plan(_TABLE)
    run = completed(engine.rollback())
    first = completed(engine.recover(run))
    before = engine.picture()

    assert_refused(engine.recover(run), "nothing_to_recover", f"recovered already, by run {first.run}")
    assert engine.picture() == before
    assert engine.registry() == ["recovered"]


def test_recovery_cannot_be_recovered(engine: Engine) -> None:
    """Only a rollback keeps something; to undo a recovery is to roll back again."""
    engine.owner(_GIVEN)
    engine.plan(_TABLE)
    back = completed(engine.recover(completed(engine.rollback())))

    assert_refused(engine.recover(back), "nothing_to_recover", "only a rollback can be recovered")


def test_run_of_another_installation(engine: Engine) -> None:
    """Run numbers are an installation's own: what another one keeps in the same target is not brought back."""
    engine.owner(_GIVEN)
    engine.plan(_TABLE)
    run = completed(engine.rollback())
    engine.admin(
        "UPDATE emergency_backup.preserved_objects SET installation = gen_random_uuid();"
        "UPDATE emergency_backup.marker SET installation = gen_random_uuid()"
    )

    assert_refused(engine.recover(run), "nothing_to_recover", "never completed on this target")


def test_older_of_two_rollbacks_of_one_migration(engine: Engine) -> None:
    """Migrated again by hand and rolled back again, both stay; the newer comes back, the older waits for its place."""
    engine.owner(_GIVEN)
    engine.plan(_TABLE)
    older = completed(engine.rollback())
    engine.owner(
        "CREATE TABLE app.orders (id serial PRIMARY KEY, again text); INSERT INTO app.orders (again) VALUES ('b')"
    )
    before = engine.picture()
    newer = completed(engine.rollback())

    shown = engine.query("SELECT again FROM emergency_backup.orders_backup")
    completed(engine.recover(newer))

    assert shown == [{"again": "b"}]
    assert engine.picture() == before
    assert_refused(engine.recover(older), "conflict", '"app"."orders" exists again')
    assert [row.rows for row in engine.kept(older) if row.inside is not None] == [1]
    completed(engine.rollback())
    completed(engine.recover(older))
    assert engine.query("SELECT u FROM app.orders") == [{"u": 1}]


def test_backup_table_of_the_documents_own_script_is_left_alone(engine: Engine) -> None:
    """A table where the view would stand, made by hand before, is neither replaced nor dropped."""
    engine.owner(_GIVEN)
    engine.admin("CREATE TABLE emergency_backup.orders_backup AS SELECT * FROM app.orders")
    engine.plan("DROP TABLE app.orders; DROP TYPE mood;")
    before = engine.picture()

    run = completed(engine.rollback())
    left = engine.query("SELECT mood::text FROM emergency_backup.orders_backup")
    completed(engine.recover(run))

    assert left == [{"mood": "ok"}]
    assert engine.query("SELECT mood::text FROM emergency_backup.orders_backup") == left
    assert engine.picture() == before
