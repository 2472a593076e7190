"""What others see while a run is under way: in_progress while it is, failed once it has."""

from __future__ import annotations

from collections.abc import Callable

from ledger.model import State
from tests.harness import Engine


def _watch(engine: Engine, point: str, look: Callable[[], object]) -> list[object]:
    seen: list[object] = []
    engine.at = lambda passed: seen.append(look()) if passed == point else None
    return seen


def test_in_progress_is_seen_from_outside(engine: Engine) -> None:
    """While apply holds its locks, registry, monitor view and ledger say in_progress to every other session."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY)")
    engine.plan("DROP TABLE t;")
    seen = _watch(
        engine,
        "proved",
        lambda: (
            engine.query("SELECT status_category FROM rollback_status_monitor")[0]["status_category"],
            engine.registry(),
            engine.find(1).state,
        ),
    )

    done = engine.rollback()

    assert seen == [("PENDING", ["in_progress"], State.IN_PROGRESS)]
    assert done.state is State.COMPLETED
    assert engine.registry() == ["completed"]


def test_failed_is_recorded_although_the_transaction_is_gone(engine: Engine) -> None:
    """A gate that fails takes everything back, and still registry, view and ledger say failed."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY)")
    engine.plan("DROP TABLE t;", verify="SELECT to_regclass('public.t') IS NOT NULL;")
    before = engine.picture()

    failed = engine.rollback()

    assert failed.state is State.FAILED
    assert engine.registry() == ["failed"]
    assert engine.query("SELECT status_category FROM rollback_status_monitor") == [{"status_category": "ERROR"}]
    assert engine.picture() == before


def test_refusal_leaves_the_registry_alone(engine: Engine) -> None:
    """A run that is refused in preflight does not touch its registry row."""
    engine.row("DROP TABLE t;")

    refused = engine.rollback()

    assert refused.state is State.REFUSED
    assert engine.registry() == ["pending"]


def test_failed_recovery_leaves_the_rollback_completed(engine: Engine) -> None:
    """A recovery that fails in apply puts the registry row back to completed: the rollback still stands."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    engine.plan("DROP TABLE t;")
    rolled_back = engine.rollback()
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 0.2}

    with engine.connect("postgres") as reader, reader.transaction():
        reader.execute("SELECT FROM emergency_backup.t_backup")
        recovery = engine.recover(rolled_back)

    assert recovery.state is State.FAILED
    assert recovery.error is not None
    assert recovery.error.code == "lock_budget_spent"
    assert engine.registry() == ["completed"]
    assert engine.recover(rolled_back).state is State.COMPLETED
    assert engine.registry() == ["recovered"]
