"""What a purge deletes, what it leaves alone, what it writes down, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.model import Run
from tests.harness import Engine, Picture, completed, ended
from tests.integration.worker.cases.case import BYSTANDERS, Case
from tests.integration.worker.test_round_trip import CASES


def quarantine(engine: Engine, run: Run) -> list[str]:
    """Return the schemas in which a run keeps things."""
    found = engine.query(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r{run.run}\\_%'")
    return [row["nspname"] for row in found]


def rolled_back(engine: Engine, case: Case) -> tuple[Run, Picture]:
    """Roll a case of the round trips back; return the run and a picture of what is there then."""
    if engine.postgres.version < case.since:
        pytest.skip(f"PostgreSQL {engine.postgres.version} does not know {case.why}")
    engine.owner(BYSTANDERS + case.given)
    engine.plan(case.plan, accepts=case.accepts)
    run = completed(engine.rollback())
    return run, engine.picture()


def told(run: Run) -> dict[str, Any]:
    """Return the rows of everything that a purge says it deleted, by name, and see that it is gone."""
    document: Any = run.result
    assert document["bytes_after"] == 0
    assert document["bytes_before"] == sum(each["bytes"] for each in document["objects"])
    return {each["name"].replace('"', ""): each["rows"] for each in document["objects"]}


@pytest.mark.parametrize("case", CASES)
def test_whatever_a_rollback_keeps_can_be_deleted(engine: Engine, case: Case) -> None:
    """After a purge nothing of the run is in quarantine, nothing else has changed, and the run cannot be recovered."""
    run, between = rolled_back(engine, case)
    held = {f"{row.quarantine}.{row.relation}": row.rows for row in engine.kept(run) if row.relation is not None}

    done = completed(engine.purge(run))
    delivered_again = engine.deliver(done.command_id)
    recovery = engine.recover(run)

    assert quarantine(engine, run) == []
    assert engine.picture() == between
    assert not delivered_again
    assert ended(recovery).startswith(f"refused: nothing_to_recover: run {run.run} was purged by run {done.run}")
    assert engine.registry() == ["completed"]
    assert {name: rows for name, rows in told(done).items() if name in held} == held


#: Where a recovery leaves something behind: copies, and what the rollback had created.
LEAVING = [case for case in CASES if str(case.id).split(": ", maxsplit=1)[0] in {"column", "rows", "retype", "script"}]


@pytest.mark.parametrize("case", LEAVING)
def test_what_a_recovery_leaves_behind_can_be_deleted(engine: Engine, case: Case) -> None:
    """Copies that stayed in quarantine, and what the recovery itself took away, go as well; what came back stays."""
    run, _between = rolled_back(engine, case)
    back = completed(engine.recover(run))
    after = engine.picture()

    for subject in (run, back):
        purged = engine.purge(subject)
        assert ended(purged).startswith(("completed", "refused: nothing_to_purge"))
        assert quarantine(engine, subject) == []

    assert engine.picture() == after
    assert engine.registry() == ["recovered"]
