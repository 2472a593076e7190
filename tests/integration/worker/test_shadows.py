"""A removed name that would silently mean another object: refused, for every search_path that is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Engine, completed, ended

_BOTH = "CREATE SCHEMA app; CREATE TABLE app.users (id int); CREATE TABLE users (id int);"


def set_path(engine: Engine, path: str = "app, public", whose: str = "") -> None:
    """Configure a search_path, for the database unless a role is said; the engine's own session knew another."""
    engine.admin(f"ALTER {whose or f'DATABASE {engine.database}'} SET search_path = {path}")
    engine.close()
    engine.__dict__.pop("session", None)


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """Give a role of one's own, by the name of a schema."""
    name = f"walker_{engine.database}"[:60]
    engine.admin(f"CREATE ROLE {name}; CREATE SCHEMA {name} AUTHORIZATION goodbuy_app")
    yield name
    engine.admin(f"DROP ROLE {name}")


CASES = [
    pytest.param(_BOTH, "DROP TABLE app.users;", "table public.users", id="table"),
    pytest.param(
        "CREATE SCHEMA app; CREATE TABLE app.users (id int); CREATE VIEW users AS SELECT 1 AS id;",
        "DROP TABLE app.users;",
        "view public.users",
        id="a view behind a table",
    ),
    pytest.param(
        "CREATE SCHEMA app; CREATE VIEW app.users AS SELECT 1; CREATE TABLE users (id int)",
        "DROP VIEW app.users;",
        "table public.users",
        id="a table behind a view",
    ),
    pytest.param(
        "CREATE SCHEMA app; CREATE SEQUENCE app.s; CREATE SEQUENCE s",
        "DROP SEQUENCE s;",
        "sequence public.s",
        id="sequence, by its bare name",
    ),
    pytest.param(
        "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('a'); CREATE TYPE mood AS ENUM ('b')",
        "DROP TYPE app.mood;",
        "type public.mood",
        id="type",
    ),
    pytest.param(
        "CREATE SCHEMA app; CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "DROP FUNCTION app.f(int);",
        "function public.f(integer)",
        id="function",
    ),
    pytest.param(_BOTH, "ALTER TABLE app.users RENAME TO gone;", "table public.users", id="renamed"),
    pytest.param(
        f"CREATE SCHEMA archive; {_BOTH}",
        "ALTER TABLE app.users SET SCHEMA archive;",
        "table public.users",
        id="put elsewhere",
    ),
    pytest.param(_BOTH, "DROP SCHEMA app CASCADE;", "table public.users", id="gone with its schema"),
]


@pytest.mark.parametrize(("given", "plan", "other"), CASES)
def test_name_that_would_mean_another_object_is_refused(engine: Engine, given: str, plan: str, other: str) -> None:
    """Both are named, and the line that accepts it; with the line the plan runs and comes back."""
    engine.owner(given)
    set_path(engine)
    engine.plan(plan)
    before = engine.picture()

    refused = engine.rollback()
    untouched = engine.picture()
    engine.plan(plan, accepts=[other])
    completed(engine.recover(completed(engine.rollback())))

    assert ended(refused).startswith("refused: plan_refused: ")
    assert f"stands before {other} in the search_path pg_catalog, app, public" in ended(refused)
    assert f'accepts = ["{other}"]' in ended(refused)
    assert untouched == before
    assert engine.picture() == before


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        (_BOTH, "DROP TABLE public.users;"),
        (_BOTH, "DROP TABLE app.users, public.users;"),
        (_BOTH, "DROP TABLE app.users; CREATE TABLE app.users (id int, name text);"),
        (_BOTH, "ALTER TABLE app.users RENAME TO old; CREATE TABLE app.users (id int);"),
        (
            "CREATE SCHEMA app; CREATE TABLE app.users (id int); CREATE TABLE t (a int); CREATE INDEX users ON t (a)",
            "DROP TABLE app.users;",
        ),
        (
            (
                "CREATE SCHEMA app; CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
                "CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 2'"
            ),
            "DROP FUNCTION app.f;",
        ),
        (
            "CREATE SCHEMA app; CREATE SCHEMA b; CREATE TABLE app.t (id int); CREATE TABLE b.t (id int)",
            "DROP TABLE app.t;",
        ),
    ],
    ids=[
        "the one behind",
        "both",
        "made again",
        "renamed, made again",
        "an index behind it",
        "other arguments",
        "no path",
    ],
)
def test_name_that_means_what_it_meant_is_not(engine: Engine, given: str, plan: str) -> None:
    """Where nothing else would be found, nothing is refused."""
    engine.owner(given)
    set_path(engine)
    engine.plan(plan)

    completed(engine.rollback())


def test_search_path_of_a_role_counts(engine: Engine, role: str) -> None:
    """Somebody else's search_path finds the other one, though the worker's own does not."""
    # Roles are everybody's: tests beside this one must not meet the schema.
    engine.owner(_BOTH.replace("app", "desk"))
    set_path(engine, path='"$user", "desk", PUBLIC', whose=f"ROLE {role}")
    engine.plan("DROP TABLE desk.users;")

    assert f"in the search_path pg_catalog, {role}, desk, public" in ended(engine.rollback())


def test_schema_by_the_name_of_a_role_counts(engine: Engine, role: str) -> None:
    """The built-in search_path begins with "$user": a role finds its own schema's tables before those in public."""
    engine.owner(f"CREATE TABLE {role}.users (id int); CREATE TABLE users (id int)")
    engine.plan(f"DROP TABLE {role}.users;")

    assert f"table {role}.users stands before table public.users" in ended(engine.rollback())


def test_search_path_of_another_database_does_not_count(engine: Engine, role: str) -> None:
    """A path that is set for a role in another database says nothing here."""
    engine.owner(_BOTH)
    set_path(engine, whose=f"ROLE {role} IN DATABASE postgres")
    engine.plan("DROP TABLE app.users;")

    completed(engine.rollback())
