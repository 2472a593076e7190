"""A small target whose runs get stuck and fail, with a person to call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import SCHEMA
from tests.faults.processes import Station
from tests.harness import TARGET, Engine

#: Who is called about the target.
CONTACT = "keeper of the shop"


@pytest.fixture
def station(engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path: Path) -> Station:
    """Give a place to start workers and monitors at, on a small target."""
    engine.owner(SCHEMA)
    engine.plan("DROP TABLE lid;")
    contact = {f"STEPBACK_TARGETS__{TARGET.upper()}__CONTACT": CONTACT}
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path / "worker.log", more=contact)
