"""Plugin: an engine on an empty target, and one on the sample; tests/harness.py says what it can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from stepback.embedded import Postgres
from tests.harness import Engine


@pytest.fixture
def engine(
    postgres: Postgres, ledger_engine: sqlalchemy.Engine, empty_target_database: str, tmp_path: Path
) -> Iterator[Engine]:
    """Give an engine on an empty target with Stepback's side installed."""
    made = Engine(postgres, ledger_engine, empty_target_database, tmp_path / "plans")
    made.install()
    yield made
    made.close()


@pytest.fixture
def sample_engine(postgres: Postgres, ledger_engine: sqlalchemy.Engine, target_database: str) -> Iterator[Engine]:
    """Give an engine on the small sample, with the document's plans."""
    plans = Path(__file__).parent.parent / "sql" / "plans" / "goodbuy_hq"
    made = Engine(postgres, ledger_engine, target_database, plans)
    made.install()
    yield made
    made.close()
