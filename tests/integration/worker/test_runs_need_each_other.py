"""What one run keeps may be of a type that another run keeps: the order of recoveries is then said."""

from __future__ import annotations

import pytest

from ledger.model import State
from tests.harness import Engine


@pytest.mark.parametrize("first", ["DROP TABLE t;", "ALTER TABLE t DROP COLUMN e;"])
def test_type_kept_by_a_later_run_comes_back_first(engine: Engine, first: str) -> None:
    """A table or column of a type that a later run took is refused with that run's number, then comes back."""
    engine.owner(
        "CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, e e DEFAULT 'a'); INSERT INTO t VALUES (1)"
    )
    before = engine.picture()
    engine.plan(first, migration="first")
    engine.plan("DROP TYPE e;", migration="second")
    one, two = engine.rollback("first"), engine.rollback("second")

    too_early = engine.recover(one)
    in_order = [engine.recover(two).state, engine.recover(one).state]

    assert (one.state, two.state) == (State.COMPLETED, State.COMPLETED)
    assert too_early.error is not None
    assert too_early.error.code == "recover_first"
    assert f"(run {two.run})" in too_early.error.message
    assert in_order == [State.COMPLETED, State.COMPLETED]
    assert engine.picture() == before
