"""Somebody got into quarantine: what is damaged is told before anything comes back, and made again where it can be."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.model import Run
from tests.harness import Engine, completed
from worker.preview import preview_recovery

_GIVEN = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TABLE t (id int CONSTRAINT t_key PRIMARY KEY, a int CONSTRAINT small CHECK (a < 100), b text);"
    "CREATE INDEX t_b ON t (b) WHERE a > 1; ALTER TABLE t ADD CONSTRAINT t_once UNIQUE (a);"
    "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();"
    "INSERT INTO t SELECT i, i, 'b' FROM generate_series(1, 9) AS i"
)


def _rolled_back(engine: Engine, plan: str = "DROP TABLE t;") -> tuple[Run, str]:
    """Roll back, and return the run and where the one table is now."""
    engine.owner(_GIVEN)
    engine.plan(plan)
    run = completed(engine.rollback())
    (inside,) = {kept.inside for kept in engine.kept(run) if kept.inside is not None}
    return run, inside


def _damaged(run: Run) -> Any:  # noqa: ANN401 - whatever was written down
    assert run.result is not None
    return run.result.get("damaged", [])


@pytest.mark.parametrize(
    ("done", "label"),
    [
        ("DROP INDEX {schema}.t_b", "index t_b"),
        ("ALTER TABLE {inside} DROP CONSTRAINT t_key", "constraint t_key"),
        ("ALTER TABLE {inside} DROP CONSTRAINT t_once", "constraint t_once"),
        ("ALTER TABLE {inside} DROP CONSTRAINT small", "constraint small"),
    ],
)
def test_parts_are_made_again(engine: Engine, done: str, label: str) -> None:
    """An index or a constraint that is gone is made again from what was written down, and that is told."""
    engine.owner(_GIVEN)
    before = engine.picture()
    engine.plan("DROP TABLE t;")
    run = completed(engine.rollback())
    (inside,) = {kept.inside for kept in engine.kept(run) if kept.inside is not None}
    engine.admin(done.format(inside=inside, schema=inside.split(".")[0]))

    shown = preview_recovery(engine.session, engine.installation, engine.find(run.run))
    recovered = completed(engine.recover(run))

    said = f"damaged: {label} of public.t is gone from quarantine; it is made again"
    assert _damaged(recovered) == [said]
    assert said in recovered.notes
    assert shown.work is not None
    assert said in shown.work.notes
    assert engine.picture() == before


@pytest.mark.parametrize(
    "done",
    [
        "DELETE FROM {inside} WHERE id > 6",
        "UPDATE {inside} SET b = 'forged' WHERE id = 1",
        "INSERT INTO {inside} VALUES (70)",
    ],
)
def test_rows_are_told(engine: Engine, done: str) -> None:
    """Rows that are not those that were put there are told; the recovery goes on with what there is."""
    run, inside = _rolled_back(engine)
    engine.admin(done.format(inside=inside))
    left = engine.query(f"SELECT * FROM {inside} ORDER BY id")

    recovered = completed(engine.recover(run))

    (said,) = _damaged(recovered)
    assert "row(s) that are not the 9 that were put there" in said
    assert engine.query("SELECT * FROM t ORDER BY id") == left


def test_column_is_told(engine: Engine) -> None:
    """A column that is gone cannot be made again: that and the changed rows are told."""
    run, inside = _rolled_back(engine)
    engine.admin(f"ALTER TABLE {inside} DROP COLUMN b CASCADE")

    recovered = completed(engine.recover(run))

    assert [said.split(" of ")[0] for said in _damaged(recovered)[:2]] == ["damaged: index t_b", "damaged: column b"]
    assert len(_damaged(recovered)) == 3


def test_copied_values_are_told(engine: Engine) -> None:
    """The same for values of a column, and for a table whose columns were dropped one by one."""
    run, inside = _rolled_back(engine, "ALTER TABLE t DROP COLUMN b;")
    engine.admin(f"UPDATE {inside} SET b = 'forged' WHERE id = 1")

    recovered = completed(engine.recover(run))

    assert len(_damaged(recovered)) == 1


def test_table_whose_policies_bind_its_owner(engine: Engine) -> None:
    """Its rows cannot be looked at without changing it: they come back all the same."""
    engine.owner(_GIVEN)
    engine.owner("ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    before = engine.picture()
    engine.plan("DROP TABLE t;")
    run = completed(engine.rollback())

    recovered = completed(engine.recover(run))

    assert _damaged(recovered) == []
    assert engine.picture() == before


def test_table_that_is_gone(engine: Engine) -> None:
    """A table that somebody dropped in quarantine cannot come back: refused, by name."""
    run, inside = _rolled_back(engine)
    engine.admin(f"DROP TABLE {inside} CASCADE")

    refused = engine.recover(run)

    assert refused.error is not None
    assert refused.error.code == "conflict"
    assert "table public.t is no longer in emergency_backup" in refused.error.message


def test_nothing_is_told_of_what_is_whole(engine: Engine) -> None:
    """Without damage there is nothing to tell."""
    run, _inside = _rolled_back(engine)

    recovered = completed(engine.recover(run))

    assert _damaged(recovered) == []
    assert recovered.notes == ()
