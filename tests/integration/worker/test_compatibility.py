"""Queries of the application that worked before must work after a rollback."""

from __future__ import annotations

from ledger.model import State
from tests.harness import Engine, completed, ended


def _queries(engine: Engine, text: str) -> None:
    folder = engine.plans / "compat"
    folder.mkdir(parents=True)
    (folder / "queries.sql").write_text(text, encoding="utf-8")


def test_query_that_would_break_is_named_and_nothing_is_done(engine: Engine) -> None:
    """A column that a query needs is renamed: the run fails, names file, line and reason, and takes all back."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY, a int)")
    _queries(engine, "SELECT 1;\n\nSELECT id, a\n  FROM t WHERE a = $1;\n")
    engine.plan("ALTER TABLE t RENAME a TO b;")
    before = engine.fingerprint()

    run = engine.rollback()

    assert run.state is State.FAILED
    assert run.error is not None
    assert run.error.code == "incompatible_queries"
    assert "compat/queries.sql line 3" in run.error.message
    assert engine.fingerprint() == before


def test_query_that_names_what_goes_may_break(engine: Engine) -> None:
    """What the plan removes cannot be asked for any more; that is what the plan is for."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE u (id int)")
    _queries(engine, "SELECT a FROM t; SELECT * FROM u; UPDATE t SET id = 1")
    engine.plan("ALTER TABLE t DROP COLUMN a; DROP TABLE u;")

    run = completed(engine.rollback())

    assert "check compatibility" in [step.step for step in run.steps]


def test_query_that_did_not_work_before_does_not_count(engine: Engine) -> None:
    """A query of an application that is not there yet is no reason to fail."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY)")
    _queries(engine, "SELECT nothing FROM nowhere; SELECT id FROM t")
    engine.plan("CREATE INDEX i ON t (id);")

    run = completed(engine.rollback())

    assert "check compatibility" in [step.step for step in run.steps]


def test_what_cannot_be_prepared_is_refused(engine: Engine) -> None:
    """A file that holds anything but queries is refused, with its line."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY)")
    _queries(engine, "SELECT 1;\nDROP TABLE t;\n")
    engine.plan("DROP TABLE t;")

    assert ended(engine.rollback()).startswith("refused: plan_refused: line 2: compat/queries.sql")
