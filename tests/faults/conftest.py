"""A small target for workers to come to grief on: three tables, a type, and a plan that takes two of them away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.processes import Station
from tests.harness import Engine

SCHEMA = """
CREATE TYPE color AS ENUM ('red', 'green');
CREATE TABLE shelf (id int PRIMARY KEY);
CREATE TABLE box (id serial PRIMARY KEY, shelf int NOT NULL REFERENCES shelf, color color, label text);
CREATE TABLE lid (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, box int REFERENCES box ON DELETE CASCADE);
INSERT INTO shelf SELECT generate_series(1, 10);
INSERT INTO box (shelf, color, label) SELECT 1 + n % 10, 'red', 'box ' || n FROM generate_series(1, 100) AS n;
INSERT INTO lid (box) SELECT id FROM box;
"""
PLAN = "DROP TABLE lid; DROP TABLE box; DROP TYPE color;"


@pytest.fixture
def station(engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path: Path) -> Station:
    """Give a place to start workers at, on the small target."""
    engine.owner(SCHEMA)
    engine.plan(PLAN)
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path / "worker.log")
