"""Plugin: a fresh target for each test, with the sample's tables and rows or empty, as three roles see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepback.sample import load_sample
from tests.databases import fresh_database, make_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepback.embedded import Postgres


@pytest.fixture(scope="session")
def goodbuy_template(postgres: Postgres) -> str:
    """Give the name of a template database with the small sample."""

    def fill(name: str) -> None:
        load_sample(postgres.url(name, "goodbuy_app"), small=True)

    return make_template(postgres, "goodbuy_template", owner="goodbuy_app", fill=fill)


@pytest.fixture
def target_database(postgres: Postgres, goodbuy_template: str) -> Iterator[str]:
    """Give the name of a target of one's own, with the small sample."""
    with fresh_database(postgres, "goodbuy", owner="goodbuy_app", template=goodbuy_template) as name:
        yield name


@pytest.fixture
def target_url(postgres: Postgres, target_database: str) -> str:
    """Give the target's URL as the worker has it."""
    return postgres.url(target_database, "stepback_worker")


@pytest.fixture
def target_owner_url(postgres: Postgres, target_database: str) -> str:
    """Give the target's URL for the application that owns its tables."""
    return postgres.url(target_database, "goodbuy_app")


@pytest.fixture
def target_admin_url(postgres: Postgres, target_database: str) -> str:
    """Give the target's URL for the superuser."""
    return postgres.superuser_url(target_database)


@pytest.fixture
def empty_target_database(postgres: Postgres) -> Iterator[str]:
    """Give the name of an empty target of one's own."""
    with fresh_database(postgres, "empty", owner="goodbuy_app") as name:
        yield name


@pytest.fixture
def empty_target_url(postgres: Postgres, empty_target_database: str) -> str:
    """Give the empty target's URL as the worker has it."""
    return postgres.url(empty_target_database, "stepback_worker")


@pytest.fixture
def empty_target_owner_url(postgres: Postgres, empty_target_database: str) -> str:
    """Give the empty target's URL for the application that owns it."""
    return postgres.url(empty_target_database, "goodbuy_app")


@pytest.fixture
def empty_target_admin_url(postgres: Postgres, empty_target_database: str) -> str:
    """Give the empty target's URL for the superuser."""
    return postgres.superuser_url(empty_target_database)
