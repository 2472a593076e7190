"""Every kind of object, there and back: picture, roll back, look, deliver again, recover, same picture, and again."""

from __future__ import annotations

import pytest

from tests.harness import Engine, completed, labels
from tests.integration.worker.cases.case import BYSTANDERS, Case
from tests.integration.worker.cases.columns import COLUMNS
from tests.integration.worker.cases.indexes import INDEXES
from tests.integration.worker.cases.tables import TABLES
from tests.integration.worker.cases.types import TYPES

CASES = [
    pytest.param(case, id=f"{kind}: {case.name}")
    for kind, cases in {"table": TABLES, "index": INDEXES, "type": TYPES, "column": COLUMNS}.items()
    for case in cases
]


@pytest.mark.parametrize("case", CASES)
def test_comes_back_as_it_was_any_number_of_times(engine: Engine, case: Case) -> None:
    """A rollback keeps everything that it removes and touches nothing else; a recovery gives the same database."""
    if engine.postgres.version < case.since:
        pytest.skip(f"PostgreSQL {engine.postgres.version} does not know {case.why}")
    engine.owner(BYSTANDERS + case.given)
    engine.admin(case.admin)
    engine.plan(case.plan, verify=f"SELECT count(*) = 3 FROM bystander; {case.gate};", accepts=case.accepts)
    before = engine.picture()

    first = completed(engine.rollback())
    between = engine.picture()
    kept = labels(engine.kept(first))
    again = engine.deliver(first.command_id)
    back = completed(engine.recover(first))
    after = engine.picture()

    print("KEEPS", case.name, kept, [s for s in between.lost(before) if not s.startswith("--")])
    assert not again
    assert after == before
    assert not engine.deliver(back.command_id)
    assert engine.registry() == ["recovered"]
    second = completed(engine.rollback())
    assert engine.picture() == between
    completed(engine.recover(second))
    assert engine.picture() == before
    completed(engine.rollback())
