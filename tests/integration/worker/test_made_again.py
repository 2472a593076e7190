"""What is made again by recovery and not moved: nobody's grants, nobody's namesakes, nobody's later version."""

from __future__ import annotations

import pytest

from tests.harness import Engine, completed, ended

_GIVEN = """
CREATE TABLE orders (id int PRIMARY KEY, n int);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE VIEW v AS SELECT id FROM orders;
CREATE VIEW granted AS SELECT id FROM orders;
GRANT SELECT ON granted TO stepback_app;
"""
_PLAN = "DROP VIEW v, granted; DROP FUNCTION twice;"


def test_default_privileges_of_the_worker_do_not_get_in(engine: Engine) -> None:
    """Whatever the worker's role gives to what it makes, an object has its own grants again, none where it had none."""
    engine.owner(_GIVEN)
    engine.plan(_PLAN)
    before = engine.picture()
    engine.admin(
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker GRANT ALL ON TABLES TO stepback_app;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO stepback_app"
    )

    completed(engine.recover(completed(engine.rollback())))

    engine.admin(
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker REVOKE ALL ON TABLES FROM stepback_app;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker IN SCHEMA public REVOKE SELECT ON TABLES FROM PUBLIC;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker GRANT EXECUTE ON FUNCTIONS TO PUBLIC;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE stepback_worker IN SCHEMA public"
        " REVOKE EXECUTE ON FUNCTIONS FROM stepback_app"
    )
    assert engine.picture() == before


@pytest.mark.parametrize(
    ("since", "says"),
    [
        ("CREATE VIEW v AS SELECT 1", '"public"."v" exists again'),
        ("CREATE TABLE v (id int)", '"public"."v" exists again'),
        ("CREATE TYPE v AS ENUM ('a')", 'type "public"."v" exists again'),
        (
            "CREATE FUNCTION twice(n int) RETURNS text LANGUAGE sql AS 'SELECT 1'",
            "function public.twice(integer) exists",
        ),
        ("CREATE PROCEDURE twice(int) LANGUAGE sql AS ''", "function public.twice(integer) exists again"),
    ],
)
def test_name_that_is_taken_again(engine: Engine, since: str, says: str) -> None:
    """Nothing that somebody made meanwhile is replaced; what only has the same name with other arguments is let be."""
    engine.owner(_GIVEN)
    engine.plan(_PLAN)
    first = completed(engine.rollback())
    engine.owner("CREATE FUNCTION twice(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    engine.owner(since)
    between = engine.picture()

    refused = engine.recover(first)

    assert ended(refused).startswith("refused: conflict: ")
    assert says in ended(refused)
    assert engine.picture() == between


@pytest.mark.parametrize(
    ("plan", "since"),
    [
        ("DROP TRIGGER t ON v;", "DROP VIEW v"),
        ("DROP RULE r ON v;", "DROP VIEW v"),
    ],
)
def test_view_that_is_gone_meanwhile(engine: Engine, plan: str, since: str) -> None:
    """A trigger or rule of a view cannot come back without it."""
    engine.owner(
        f"{_GIVEN} CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER t INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION note();"
        "CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING"
    )
    engine.plan(plan)
    first = completed(engine.rollback())
    engine.owner(since)

    refused = engine.recover(first)

    assert ended(refused).startswith("refused: conflict: ")
    assert '"public"."v"' in ended(refused)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $1'",
        "COMMENT ON FUNCTION twice(int) IS 'doubles'",
        "GRANT EXECUTE ON FUNCTION twice(int) TO stepback_app",
    ],
)
def test_newer_version_is_not_lost(engine: Engine, change: str) -> None:
    """What somebody changes between our last look and its removal is found before COMMIT, and written down anew."""
    engine.owner(_GIVEN)
    engine.plan(_PLAN)
    moments: list[str] = []

    def meanwhile(moment: str) -> None:
        if moment == "changed" and moment not in moments:
            engine.owner(change)
        moments.append(moment)

    engine.at = meanwhile
    first = completed(engine.rollback())
    engine.at = lambda _moment: None
    waited = [event for event in engine.events(first) if event.type == "lock_waited"]
    completed(engine.recover(first))

    assert ["changed by somebody" in str(event.detail["who"]) for event in waited] == [True]
    after = engine.fingerprint()
    engine.owner(change)
    assert engine.fingerprint() == after


def test_function_that_an_earlier_rollback_needs(engine: Engine) -> None:
    """A table in quarantine keeps its default, so the function of it cannot be dropped before the table is back."""
    engine.owner(f"{_GIVEN} ALTER TABLE orders ALTER n SET DEFAULT twice(3)")
    engine.plan("DROP TABLE orders CASCADE;", accepts=["view public.v", "view public.granted"])
    engine.plan("DROP FUNCTION twice CASCADE;", migration="second")
    first = completed(engine.rollback())

    refused = engine.rollback("second")
    completed(engine.recover(first))
    completed(engine.rollback("second"))

    assert ended(refused).startswith("refused: plan_refused: ")
    assert "recover that run first" in ended(refused)
