"""Plugin: an application's database with an outbox, and the logins of its services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from producers.outbox_install import install
from tests.databases import fresh_database, make_template

if TYPE_CHECKING:
    from stepback.embedded import Postgres

#: Logins that may ask, and one that may not.
REQUESTERS = ("shop_billing", "shop_orders")
STRANGER = "shop_stranger"

_LOGINS = "\n".join(
    f"""
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN CREATE ROLE {login} LOGIN; END IF;
    END $$;
    """
    for login in (*REQUESTERS, STRANGER, "shop_owner")
)


@dataclass(frozen=True)
class Application:
    """A database of some application."""

    postgres: Postgres
    database: str

    def url(self, login: str) -> str:
        """Return the URL for a login."""
        return self.postgres.url(self.database, login)

    def connect(self, login: str) -> psycopg.Connection[dict[str, Any]]:
        """Return a session of a login, in autocommit."""
        return psycopg.connect(self.url(login), autocommit=True, row_factory=dict_row)

    def execute(self, login: str, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Run statements as a login in a session of its own; return the rows of the last."""
        with self.connect(login) as conn:
            cursor = conn.execute(statement.encode(), parameters or None)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> list[dict[str, Any]]:
        """Return the whole outbox, oldest first."""
        return self.execute("postgres", "SELECT * FROM stepback.outbox ORDER BY ordinal")


@pytest.fixture(scope="session")
def application_template(postgres: Postgres) -> str:
    """Give the name of a template database with an outbox, and make the logins."""

    def fill(name: str) -> None:
        install("shop", postgres.superuser_url(name))
        with psycopg.connect(postgres.superuser_url(name), autocommit=True) as conn:
            conn.execute(_LOGINS.encode())
            conn.execute(f"GRANT stepback_requester TO {', '.join(REQUESTERS)}".encode())

    return make_template(postgres, "application_template", owner="postgres", fill=fill)


@pytest.fixture
def application(postgres: Postgres, application_template: str) -> Iterator[Application]:
    """Give an application's database of one's own, with an outbox in it."""
    with fresh_database(postgres, "application", owner="postgres", template=application_template) as name:
        yield Application(postgres, name)
