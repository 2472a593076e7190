"""The sample loads whole, is the same every time, and its plans and migrations undo each other."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from ledger.errors import BadName, UnknownMigration
from stepback.sample import TARGET, load_sample, migrations, reapply_migration

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_TABLES = ("users", "businesses", "evaluations", "business_views", "inquiries", "price_alerts")
AI_TABLES = (
    "health_metrics",
    "forecast_results",
    "quickbooks_connections",
    "quickbooks_sync_logs",
    "health_alerts",
)

Rows = list[tuple[object, ...]]


class Postgres(Protocol):
    """What the shared server fixture offers."""

    def superuser_url(self, dbname: str) -> str:
        """Return the URL of a database for its superuser."""

    def url(self, dbname: str, user: str) -> str:
        """Return the URL of a database for a role."""


@contextmanager
def fresh_database(postgres: Postgres) -> Iterator[str]:
    """Give the URL, as its owner, of an empty database that is gone afterwards."""
    name = f"sample_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER goodbuy_app TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield postgres.url(name, "goodbuy_app")
        finally:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def whole(postgres: Postgres) -> Iterator[str]:
    """Give a database with the whole sample, for tests that only read."""
    with fresh_database(postgres) as url:
        load_sample(url)
        yield url


@pytest.fixture
def small(postgres: Postgres) -> Iterator[str]:
    """Give a database with the small sample, for tests that change it."""
    with fresh_database(postgres) as url:
        load_sample(url, small=True)
        yield url


def query(url: str, statement: str) -> Rows:
    """Run one statement and return its rows."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def count(url: str, table: str) -> int:
    """Return how many rows a table holds."""
    counting = "SELECT count(*) FROM {}"
    [(rows,)] = query(url, counting.format(table))
    assert isinstance(rows, int)
    return rows


def contents(url: str) -> dict[str, object]:
    """Return a digest of the rows of every sample table."""
    digest = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} t"
    return {table: query(url, digest.format(table)) for table in OLD_TABLES + AI_TABLES}


def schema(url: str) -> dict[str, Rows]:
    """Return what the catalog says about the public schema, by kind of object."""
    return {
        "columns": query(
            url,
            """
            SELECT table_name, column_name, udt_name, is_nullable, column_default, identity_generation,
              generation_expression
            FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name
            """,
        ),
        "constraints": query(
            url,
            """
            SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
            """,
        ),
        "indexes": query(url, "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
        "enums": query(
            url,
            "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum ORDER BY enumtypid::regtype::text, enumsortorder",
        ),
        "triggers": query(url, "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"),
        "views": query(url, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1"),
    }


def bystander(url: str) -> dict[str, Rows]:
    """Return everything that is known about price_alerts, rows included."""
    return {
        "rows": query(url, "SELECT * FROM price_alerts ORDER BY id"),
        "constraints": query(
            url,
            """
            SELECT conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE conrelid = 'price_alerts'::regclass AND contype <> 'n' ORDER BY 1
            """,
        ),
        "indexes": query(url, "SELECT indexdef FROM pg_indexes WHERE tablename = 'price_alerts' ORDER BY 1"),
        "comment": query(url, "SELECT obj_description('price_alerts'::regclass)"),
    }


def plan_file(migration: str, name: str) -> bytes:
    """Return one file of a plan's folder."""
    return files("sql").joinpath("plans", TARGET, migration, name).read_bytes()


def roll_back(url: str, migration: str) -> None:
    """Run a plan's rollback.sql by hand."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(plan_file(migration, "rollback.sql"))


def verdicts(url: str, migration: str) -> list[object]:
    """Run a plan's verify.sql and return the one value of each statement."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(plan_file(migration, "verify.sql"))
        values = []
        for result in cursor.results():
            [(value,)] = result.fetchall()
            values.append(value)
        return values


@pytest.mark.parametrize(
    ("table", "least"),
    [
        ("businesses", 2000),
        ("users", 1000),
        ("evaluations", 5000),
        ("business_views", 10_000),
        ("inquiries", 5000),
        ("price_alerts", 500),
        ("health_metrics", 50_000),
        ("forecast_results", 5000),
        ("quickbooks_connections", 300),
        ("quickbooks_sync_logs", 5000),
        ("health_alerts", 1500),
    ],
)
def test_the_whole_sample_is_large_enough_to_be_felt(whole: str, table: str, least: int) -> None:
    """Every table holds at least the rows that demo and benchmarks count on."""
    assert count(whole, table) >= least


def test_the_small_sample_is_small(small: str) -> None:
    """A quick test gets 40 businesses and 200 health metrics, and no table is empty."""
    assert count(small, "businesses") == 40
    assert count(small, "health_metrics") == 200
    assert all(count(small, table) > 0 for table in OLD_TABLES + AI_TABLES)


@pytest.mark.parametrize("scale", ["whole", "small"])
def test_awkward_businesses_are_there(request: pytest.FixtureRequest, scale: str) -> None:
    """Each way of filling the four columns that a careless backup would lose occurs at both scales."""
    url = request.getfixturevalue(scale)

    found = query(
        url,
        """
        SELECT DISTINCT health_score_enabled, last_health_calculation IS NOT NULL,
          quickbooks_company_id IS NOT NULL, auto_sync_enabled
        FROM businesses
        """,
    )

    assert {
        (True, True, True, True),  # all four
        (False, False, False, True),  # nothing but auto_sync_enabled
        (False, True, False, False),  # nothing but last_health_calculation
        (None, False, False, False),  # NULL where the default is false
        (False, False, False, False),  # never touched
    } <= set(found)


def test_health_metrics_are_worth_a_selection(whole: str) -> None:
    """Confidence runs from 40 to 100, and the plan document's recovery filter splits the rows both ways."""
    [confidence] = query(whole, "SELECT min(confidence_level), max(confidence_level) FROM health_metrics")
    wanted = count(
        whole,
        """
        health_metrics m JOIN businesses b ON b.id = m.business_id
        WHERE m.confidence_level >= 80 AND m.overall_score IS NOT NULL AND b.status = 'ACTIVE'
        """,
    )

    assert confidence == (40, 100)
    assert 5000 < wanted < 45_000
    assert count(whole, "health_metrics WHERE overall_score IS NULL") > 1000
    assert count(whole, "health_metrics WHERE data_sources IS NULL") > 1000


def test_two_loads_give_the_same_rows(postgres: Postgres, small: str) -> None:
    """Nothing in the rows depends on time, chance or the order of loading."""
    with fresh_database(postgres) as other:
        load_sample(other, small=True)

        assert contents(other) == contents(small)


def test_both_scales_have_one_schema(whole: str, small: str) -> None:
    """Quick tests run on the very schema that the demo shows."""
    assert schema(small) == schema(whole)


def test_a_second_load_changes_nothing(small: str) -> None:
    """Loading into a database that has the sample fails and leaves it as it was."""
    before = contents(small)

    with pytest.raises(psycopg.errors.DuplicateObject):
        load_sample(small, small=True)

    assert contents(small) == before


def test_the_owner_is_who_loads(whole: str) -> None:
    """Every table and type belongs to the role in the URL."""
    owners = query(
        whole,
        """
        SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION
        SELECT DISTINCT pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace
        """,
    )

    assert owners == [("goodbuy_app",)]


def test_the_planner_knows_the_sizes(whole: str) -> None:
    """Statistics are there after a load, so that row estimates in a plan are not guesses."""
    [(estimate,)] = query(whole, "SELECT reltuples::bigint FROM pg_class WHERE oid = 'health_metrics'::regclass")

    assert estimate == count(whole, "health_metrics")


def test_the_loader_leaves_no_help_behind(whole: str) -> None:
    """The only function in the database is the one of the old system."""
    functions = query(
        whole,
        """
        SELECT proname FROM pg_proc
        WHERE pronamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
        """,
    )

    assert functions == [("touch_updated_at",)]


@pytest.mark.parametrize("migration", migrations())
def test_verify_says_no_before_and_yes_after(small: str, migration: str) -> None:
    """A plan's gate does not hold while its migration is applied, and holds when it is rolled back."""
    before = verdicts(small, migration)

    roll_back(small, migration)

    assert set(before) == {True, False}
    assert set(verdicts(small, migration)) == {True}


@pytest.mark.parametrize("migration", migrations())
def test_a_migration_can_be_applied_again(small: str, migration: str) -> None:
    """Rolled back and applied again, any number of times, the schema is the one from before."""
    before = schema(small)

    for _ in range(2):
        roll_back(small, migration)
        assert schema(small) != before
        reapply_migration(small, migration)

    assert schema(small) == before


def test_all_rollbacks_leave_the_old_system(postgres: Postgres, small: str) -> None:
    """With all five rolled back only the old system is left, and the bystander price_alerts is untouched."""
    alerts_before = bystander(small)
    listings_before = query(small, "SELECT * FROM active_businesses ORDER BY id")
    with fresh_database(postgres) as other, psycopg.connect(other) as connection:
        connection.execute(files("sql").joinpath("sample", "0001_old_system.sql").read_bytes())
        connection.commit()
        old_system = schema(other)

    for migration in reversed(migrations()):
        roll_back(small, migration)

    assert schema(small) == old_system
    assert bystander(small) == alerts_before
    assert query(small, "SELECT * FROM active_businesses ORDER BY id") == listings_before


@pytest.mark.parametrize("migration", migrations())
def test_an_applied_migration_is_not_applied_twice(small: str, migration: str) -> None:
    """Applying what is there fails and leaves no half of it."""
    before = schema(small)

    with pytest.raises((psycopg.errors.DuplicateObject, psycopg.errors.DuplicateColumn)):
        reapply_migration(small, migration)

    assert schema(small) == before


@pytest.mark.parametrize(
    ("name", "error"), [("add_payments", UnknownMigration), ("../add_health_alerts", BadName), ("", BadName)]
)
def test_only_known_migrations_are_applied(small: str, name: str, error: type[Exception]) -> None:
    """A name that is no migration of the sample never becomes a path."""
    with pytest.raises(error):
        reapply_migration(small, name)


def test_every_migration_has_its_plan() -> None:
    """The list of migrations and the folders of plans name the same five things, in full; the others are named."""
    folders = {
        folder.name: {file.name for file in folder.iterdir()}
        for folder in files("sql").joinpath("plans", TARGET).iterdir()
        # Queries that must go on working are no plan.
        if folder.name != "compat"
    }

    procedures = {name: folders.pop(name) for name in ("complete_ai_schema", "remove_ai_enums", "remove_ai_indexes")}
    assert set(folders) == set(migrations())
    # The one that the rollback plan has a rule for.
    folders["add_health_metrics_table"].remove("recover.sql")
    assert all(names == {"migration.sql", "rollback.sql", "verify.sql", "plan.toml"} for names in folders.values())
    assert procedures.pop("complete_ai_schema") == {"plan.toml", "verify.sql", "finish.sql"}
    assert all(names == {"rollback.sql", "verify.sql", "plan.toml"} for names in procedures.values())
