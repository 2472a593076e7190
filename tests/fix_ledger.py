"""Plugin: a fresh ledger for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.database import open_ledger
from ledger.schema import upgrade
from tests.databases import fresh_database, make_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from stepback.embedded import Postgres


@pytest.fixture(scope="session")
def ledger_template(postgres: Postgres) -> str:
    """Give the name of a template database with the ledger's schema and no runs."""

    def fill(name: str) -> None:
        upgrade(postgres.superuser_url(name))

    return make_template(postgres, "stepback_ledger_template", owner="stepback_owner", fill=fill)


@pytest.fixture
def ledger_database(postgres: Postgres, ledger_template: str) -> Iterator[str]:
    """Give the name of a ledger of one's own."""
    with fresh_database(postgres, "ledger", owner="stepback_owner", template=ledger_template) as name:
        yield name


@pytest.fixture
def ledger_url(postgres: Postgres, ledger_database: str) -> str:
    """Give the ledger's URL as every process of Stepback has it."""
    return postgres.url(ledger_database, "stepback_app")


@pytest.fixture
def ledger_admin_url(postgres: Postgres, ledger_database: str) -> str:
    """Give the ledger's URL for the superuser."""
    return postgres.superuser_url(ledger_database)


@pytest.fixture
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """Give an engine for the ledger, as every process of Stepback has it."""
    engine = open_ledger(ledger_url)
    yield engine
    engine.dispose()
