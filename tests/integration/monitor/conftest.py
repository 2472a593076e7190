"""What the monitor's tests share: a small target with a place to start workers at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import PLAN, SCHEMA
from tests.faults.processes import Station
from tests.harness import Engine


@pytest.fixture
def station(engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path: Path) -> Station:
    """Give a place to start workers at, on the small target of the fault tests."""
    engine.owner(SCHEMA)
    engine.plan(PLAN)
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path / "worker.log")


@pytest.fixture
def superuser(ledger_admin_url: str) -> Iterator[psycopg.Connection]:
    """Give a connection that may do everything in the ledger's database."""
    with psycopg.connect(ledger_admin_url, autocommit=True) as conn:
        yield conn
