"""Installing the outbox: by whom it may be, twice and at once, and in no schema of somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from ledger.errors import BadConfiguration
from producers.outbox_database import OutboxNotInstalled, OutboxUnreachable
from producers.outbox_install import install, script
from stepback.embedded import Postgres
from tests.databases import fresh_database
from tests.fix_outbox import STRANGER, Application

ASK = "SELECT stepback.request_rollback('add_prices', 'why', 'shop')"


@pytest.fixture
def empty(postgres: Postgres, application_template: str) -> Iterator[Application]:
    """Give a database without an outbox; the logins are there."""
    assert application_template
    with fresh_database(postgres, "application", owner="shop_owner") as name:
        yield Application(postgres, name)


def test_twice_is_harmless(application: Application) -> None:
    """Installed again, the outbox keeps its requests, and works."""
    application.execute("shop_billing", ASK)

    install("shop", application.url("postgres"))

    application.execute("shop_billing", ASK)
    assert len(application.rows()) == 2


def test_many_at_once_are_harmless(empty: Application) -> None:
    """Installers that start at the same time do not get into each other's way."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: install("shop", empty.url("postgres")), range(4)))

    empty.execute("shop_billing", ASK)


def test_the_script_is_one_transaction(empty: Application) -> None:
    """What is printed for psql takes itself back whole when something in it fails."""
    with empty.connect("postgres") as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute(script().replace("COMMIT;", "SELECT 1 / 0; COMMIT;").encode())
        conn.execute("ROLLBACK")

    assert empty.execute("postgres", "SELECT to_regnamespace('stepback') AS there") == [{"there": None}]


def test_an_administrator_need_not_be_superuser(empty: Application) -> None:
    """CREATEROLE and CREATE on the database are enough where the roles are the administrator's."""
    admin = f"shop_admin_{uuid4().hex[:8]}"
    empty.execute(
        "postgres", f"CREATE ROLE {admin} LOGIN CREATEROLE; GRANT CREATE ON DATABASE {empty.database} TO {admin}"
    )
    options = "ADMIN OPTION" if empty.postgres.version < 16 else "ADMIN TRUE, SET TRUE"
    empty.execute("postgres", f"GRANT stepback_outbox TO {admin} WITH {options}")
    try:
        install("shop", empty.url(admin))
        empty.execute("shop_billing", ASK)
    finally:
        empty.execute("postgres", f"DROP OWNED BY {admin}; DROP ROLE {admin}")


@pytest.mark.parametrize("login", [STRANGER, "stepback_relay", "shop_owner"])
def test_who_may_not_is_told_who_may(empty: Application, login: str) -> None:
    """Without an outbox there, a login that cannot make one is told what an administrator does; nothing is left."""
    with pytest.raises(OutboxNotInstalled, match="let an administrator run"):
        install("shop", empty.url(login))

    assert empty.execute("postgres", "SELECT to_regnamespace('stepback') AS there") == [{"there": None}]


def test_a_schema_of_somebody_else_is_left_alone(empty: Application) -> None:
    """A schema stepback that somebody made before could hold traps: it is refused, not taken over."""
    empty.execute("shop_owner", "CREATE SCHEMA stepback")

    with pytest.raises(BadConfiguration, match="belongs to somebody else"):
        install("shop", empty.url("postgres"))


def test_default_privileges_open_nothing(empty: Application) -> None:
    """Where whoever installs gives everything they make to everybody, the outbox is not among it."""
    empty.execute(
        "postgres",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;"
        " ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;"
        " ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC",
    )

    install("shop", empty.url("postgres"))

    for statement in ("TABLE stepback.outbox", "TABLE stepback.requests", ASK):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            empty.execute(STRANGER, statement)


def test_what_is_in_the_path_of_whoever_installs_is_not_called(empty: Application) -> None:
    """Functions that others put into the path of an administrator are not run with the administrator's rights."""
    empty.execute(
        "shop_owner",
        "CREATE SCHEMA postgres; GRANT USAGE ON SCHEMA postgres TO PUBLIC;"
        " CREATE FUNCTION postgres.hashtext(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;"
        " CREATE FUNCTION postgres.format(text, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;"
        f" ALTER DATABASE {empty.database} SET search_path = postgres, pg_catalog",
    )

    install("shop", empty.url("postgres"))

    with empty.connect("postgres") as conn:
        conn.execute(script().encode())


def test_only_utf8_will_do(postgres: Postgres) -> None:
    """A database in another encoding is refused with its name."""
    name = f"latin_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.superuser_url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0".encode())
        try:
            with pytest.raises(BadConfiguration, match="is in LATIN1"):
                install("shop", postgres.superuser_url(name))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_database_that_is_away_is_said_to_be(postgres: Postgres) -> None:
    """A database that is not there does not pass for one without an outbox."""
    with pytest.raises(OutboxUnreachable, match="outbox shop does not answer"):
        install("shop", postgres.superuser_url("nowhere"))


def test_everything_is_explained(application: Application) -> None:
    """Every table, view and column of the schema that is ours to explain has a comment."""
    bare = application.execute(
        "postgres",
        "SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = 'stepback.outbox'::regclass AND a.attnum > 0"
        " AND col_description(a.attrelid, a.attnum) IS NULL"
        " UNION ALL SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'stepback'::regnamespace"
        " AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL",
    )

    assert bare == []
