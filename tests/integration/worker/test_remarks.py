"""What a dry run, the audit log and `show` remark upon: bodies that mention what goes, and what quarantine pins."""

from __future__ import annotations

import pytest

from tests.harness import TARGET, Engine, completed
from worker.preview import preview
from worker.work import Work

_ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, c int, total int);"


def look(engine: Engine) -> Work:
    """Take a dry run of the plan, which would run."""
    found = preview(engine.session, engine.settings.target(TARGET), TARGET, "m")
    assert found.work is not None, found.refusals
    assert not found.refusals, found.refusals
    return found.work


def mentions(engine: Engine) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return what mentions what the plan takes."""
    return [(mention.kind, mention.name, mention.mentions) for mention in look(engine).mentions]


def pins(engine: Engine) -> list[tuple[str, str, str]]:
    """Return what the plan would pin."""
    return [(pin.kind, pin.name, pin.held_by) for pin in look(engine).pins]


def body(name: str, text: str, language: str = "plpgsql") -> str:
    """Return a function with a body."""
    return f"CREATE FUNCTION {name}() RETURNS void LANGUAGE {language} AS $f${text}$f$;"


# -- mentions


@pytest.mark.parametrize(
    ("given", "plan", "label"),
    [
        (body("f", "BEGIN DELETE FROM orders; END"), "DROP TABLE orders;", "table public.orders"),
        (body("f", "BEGIN PERFORM 1 FROM public.ORDERS; END"), "DROP TABLE orders;", "table public.orders"),
        (body("f", 'BEGIN PERFORM 1 FROM "orders"; END'), "DROP TABLE orders;", "table public.orders"),
        (body("f", "BEGIN PERFORM total FROM orders; END"), "ALTER TABLE orders DROP total;", "table column"),
        (body("f", "BEGIN DELETE FROM orders; END"), "ALTER TABLE orders RENAME TO sales;", "table public.orders"),
        (body("f", "BEGIN PERFORM total FROM orders; END"), "ALTER TABLE orders RENAME total TO t;", "orders.total"),
        (
            f"CREATE SCHEMA s; {body('f', 'BEGIN DELETE FROM orders; END')}",
            "ALTER TABLE orders SET SCHEMA s;",
            "table public.orders",
        ),
        (
            f"CREATE VIEW v AS SELECT 1 AS a; {body('f', 'BEGIN PERFORM a FROM v; END')}",
            "DROP VIEW v;",
            "view public.v",
        ),
        (
            f"CREATE TYPE mood AS ENUM ('a'); {body('f', 'DECLARE m mood; BEGIN END')}",
            "DROP TYPE mood;",
            "type public.mood",
        ),
        (f"{body('g', 'BEGIN END')} {body('f', 'BEGIN PERFORM g(); END')}", "DROP FUNCTION g;", "function public.g()"),
        (
            f"CREATE SCHEMA s; {body('f', 'BEGIN PERFORM s.x(); END')}",
            "DROP SCHEMA s;",
            "schema s",
        ),
        (
            'CREATE TABLE "a(b" (id int);' + body("f", 'BEGIN DELETE FROM public."a(b"; END'),
            'DROP TABLE "a(b";',
            'table public."a(b"',
        ),
    ],
)
def test_function_that_mentions_what_goes(engine: Engine, given: str, plan: str, label: str) -> None:
    """Whatever is removed or renamed, in whatever case and quotes it is mentioned."""
    engine.owner(f"{_ORDERS} {given}")
    engine.plan(plan)

    ((kind, name, mentioned),) = mentions(engine)

    assert (kind, name) == ("function", "public.f()")
    assert label in " ".join(mentioned)


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        (body("f", "BEGIN DELETE FROM orders_old; DELETE FROM my_orders; END"), "DROP TABLE orders;"),
        (body("f", "BEGIN PERFORM total FROM sales; END"), "ALTER TABLE orders DROP total;"),
        (body("f", "BEGIN DELETE FROM orders; END"), "DROP TABLE orders; DROP FUNCTION f;"),
        (body("f", "BEGIN DELETE FROM orders; END"), "DROP TABLE orders; CREATE TABLE orders (id int);"),
        (
            body("f", "BEGIN DELETE FROM orders; END"),
            "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN END'; DROP TABLE orders;",
        ),
        (body("f", "BEGIN PERFORM total FROM orders; END"), "ALTER TABLE orders DROP c;"),
    ],
    ids=["part of a word", "column of another table", "goes too", "made again", "replaced", "another column"],
)
def test_function_that_mentions_nothing_of_it(engine: Engine, given: str, plan: str) -> None:
    """Parts of words, functions that go themselves, and names that the plan gives again are no mentions."""
    engine.owner(f"{_ORDERS} {given}")
    engine.plan(plan)

    assert mentions(engine) == []


def test_procedures_and_trigger_functions_mention_too(engine: Engine) -> None:
    """Whatever has a text for a body is read."""
    engine.owner(
        f"{_ORDERS} CREATE TABLE lines (id int);"
        "CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM orders';"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN NEW; END';"
        "CREATE TRIGGER note BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION note()"
    )
    engine.plan("DROP TABLE orders;")

    assert mentions(engine) == [
        ("function", "public.note()", ("table public.orders",)),
        ("procedure", "public.tidy()", ("table public.orders",)),
    ]


def test_mentions_warn_and_are_written_down(engine: Engine) -> None:
    """A mention refuses nothing; the audit log and `show` tell it, without a word of the function's text."""
    engine.owner(f"{_ORDERS} {body('f', 'BEGIN DELETE FROM orders WHERE id = 4711; END')}")
    engine.plan("DROP TABLE orders;")

    run = completed(engine.rollback())

    (event,) = [event for event in engine.events(run) if event.step == "compute impact"]
    assert event.detail["mentions"] == [{"kind": "function", "name": "public.f()", "mentions": ["table public.orders"]}]
    assert "function public.f() mentions table public.orders" in run.notes
    assert "4711" not in str(event.detail) + str(run.notes)


# -- pins


@pytest.mark.parametrize(
    ("given", "plan", "pinned"),
    [
        (
            "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int, m mood, n mood[])",
            "DROP TABLE t;",
            [("type", "public.mood", "table public.t"), ("type", "public.mood[]", "table public.t")],
        ),
        (
            "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t (id int DEFAULT g())",
            "DROP TABLE t;",
            [("function", "public.g()", "table public.t")],
        ),
        (
            (
                "CREATE FUNCTION g(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
                "CREATE TABLE t (id int CHECK (g(id) > 0)); CREATE INDEX ON t (g(id))"
            ),
            "DROP TABLE t;",
            [("function", "public.g(integer)", "table public.t")],
        ),
        (
            (
                "CREATE FUNCTION g(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
                "CREATE TABLE t (id int, d int GENERATED ALWAYS AS (g(id)) STORED)"
            ),
            "DROP TABLE t;",
            [("function", "public.g(integer)", "table public.t")],
        ),
        (
            'CREATE COLLATION german FROM "C"; CREATE TABLE t (a text COLLATE german)',
            "DROP TABLE t;",
            [("collation", "public.german", "table public.t")],
        ),
        (
            "CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s'))",
            "DROP TABLE t;",
            [("sequence", "public.s", "table public.t")],
        ),
        (
            "CREATE TABLE t (id int); CREATE MATERIALIZED VIEW m AS SELECT id FROM t",
            "DROP MATERIALIZED VIEW m;",
            [("table", "public.t", "materialized view public.m")],
        ),
        (
            "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN good AS mood; CREATE TYPE pair AS (a good)",
            "DROP TYPE pair;",
            [("type", "public.good", "type public.pair")],
        ),
        (
            "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, m mood)",
            "ALTER TABLE t DROP m;",
            [("type", "public.mood", "table column public.t.m")],
        ),
    ],
    ids=[
        "types",
        "a default's function",
        "a check's and an index's function",
        "a generated column's function",
        "a collation",
        "a sequence of its own",
        "a table that a materialized view reads",
        "a domain in a composite type",
        "the type of a copy",
    ],
)
def test_what_quarantine_holds_fast_is_told(
    engine: Engine, given: str, plan: str, pinned: list[tuple[str, str, str]]
) -> None:
    """What stays outside and cannot be dropped meanwhile, and because of what."""
    engine.owner(given)
    engine.plan(plan)

    assert pins(engine) == pinned


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (m mood)", "DROP TABLE t; DROP TYPE mood;"),
        ("CREATE TABLE t (id serial PRIMARY KEY, a text UNIQUE)", "DROP TABLE t;"),
        ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (p int REFERENCES p)", "DROP TABLE t;"),
        ("CREATE TABLE p (id int); CREATE TABLE t () INHERITS (p)", "DROP TABLE t;"),
        (
            "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF p FOR VALUES FROM (1) TO (2)",
            "DROP TABLE t;",
        ),
        ("CREATE TABLE t (id int); CREATE TABLE u (t t)", "DROP TABLE u, t;"),
        ("CREATE TABLE t (id int); CREATE VIEW v AS SELECT id FROM t", "DROP VIEW v;"),
        (
            (
                "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
                "CREATE TABLE t (id int);"
                "CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION g()"
            ),
            "DROP TABLE t;",
        ),
    ],
    ids=[
        "its type goes too",
        "what it owns",
        "a foreign key is cut",
        "so is a child",
        "and a partition",
        "a row type that goes too",
        "views are only text",
        "triggers too",
    ],
)
def test_what_goes_along_or_is_cut_pins_nothing(engine: Engine, given: str, plan: str) -> None:
    """What moves itself, and what is only written down, holds nothing outside."""
    engine.owner(given)
    engine.plan(plan)

    assert pins(engine) == []


def test_what_is_told_to_be_pinned_is(engine: Engine) -> None:
    """The server refuses to drop it, and the audit log and `show` said so."""
    engine.owner("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (m mood)")
    engine.plan("DROP TABLE t;")

    run = completed(engine.rollback())
    blocked = engine.query("SELECT 1 FROM pg_depend WHERE refobjid = 'mood'::regtype AND deptype = 'n'")

    assert blocked
    (event,) = [event for event in engine.events(run) if event.step == "compute impact"]
    assert event.detail["pins"] == [{"kind": "type", "name": "public.mood", "held_by": "table public.t"}]
    assert "type public.mood cannot be dropped while table public.t is kept" in run.notes
