"""What no transaction can hold: finish.sql, and scripts of nothing but CONCURRENTLY; done after COMMIT, repeatable."""

from __future__ import annotations

import threading
import time

import pytest

from ledger.database import transaction
from ledger.model import State
from tests.harness import Engine, completed, labels

_TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT n, n, n FROM generate_series(1, 100) n;"
)


class _CutOff(BaseException):
    """Ends the worker's attempt there, as kill -9 would."""


def _valid(engine: Engine) -> dict[str, bool]:
    rows = engine.query("SELECT indexrelid::regclass::text AS name, indisvalid AS valid FROM pg_index ORDER BY 1")
    return {row["name"]: row["valid"] for row in rows if not row["name"].startswith("pg_")}


def _ours(engine: Engine) -> dict[str, bool]:
    return {name: valid for name, valid in _valid(engine).items() if name.startswith("t_")}


def test_finish_runs_after_commit(engine: Engine) -> None:
    """finish.sql is done statement by statement after COMMIT, and each is a step with its own outcome."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a); CREATE TABLE u (id int)")
    finish = "ANALYZE t; VACUUM (ANALYZE) t; REINDEX TABLE CONCURRENTLY t; CREATE INDEX CONCURRENTLY t_b ON t (b);"
    engine.plan("DROP TABLE u;", finish=finish)

    run = completed(engine.rollback())

    steps = [step.step for step in run.steps if step.section == "OPTIMIZATION"]
    assert steps[0] == 'analyze "public"."t"'
    assert [step.split(":")[0] for step in steps[1:]] == ["line 1"] * 3
    assert _ours(engine) == {"t_pkey": True, "t_a": True, "t_b": True}
    assert "created index public.t_b" in labels(engine.kept(run))


def test_finish_that_fails_undoes_nothing(engine: Engine) -> None:
    """A unique index that cannot be built leaves no invalid remains; the run is completed, and the step says why."""
    engine.owner(f"{_TABLE} UPDATE t SET a = 1; CREATE TABLE u (id int)")
    engine.plan("DROP TABLE u;", finish="CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a);")

    run = engine.rollback()

    assert run.state is State.COMPLETED
    (failed,) = [step for step in run.steps if step.outcome == "failed"]
    assert "CREATE UNIQUE INDEX" in failed.step
    assert _ours(engine) == {"t_pkey": True}


@pytest.mark.parametrize(
    ("rollback", "there"),
    [
        ("DROP INDEX CONCURRENTLY t_a;", {"t_pkey": True}),
        ("DROP INDEX CONCURRENTLY IF EXISTS public.t_a; DROP INDEX CONCURRENTLY IF EXISTS t_none;", {"t_pkey": True}),
        ("CREATE INDEX CONCURRENTLY t_b ON t (b);", {"t_pkey": True, "t_a": True, "t_b": True}),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_b ON public.t (b); ANALYZE t;",
            {"t_pkey": True, "t_a": True, "t_b": True},
        ),
        ("DROP INDEX CONCURRENTLY t_a; CREATE INDEX CONCURRENTLY t_b ON t (b, a);", {"t_pkey": True, "t_b": True}),
        ("REINDEX INDEX CONCURRENTLY t_a;", {"t_pkey": True, "t_a": True}),
    ],
)
def test_script_of_nothing_else(engine: Engine, rollback: str, there: dict[str, bool]) -> None:
    """A script that is only CONCURRENTLY is carried out that way, written down, and undone by a recovery; twice."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a); COMMENT ON INDEX t_a IS 'mine'")
    before = engine.picture()

    for _ in range(2):
        engine.plan(rollback)
        run = completed(engine.rollback())
        after = _ours(engine)
        registry = engine.registry()[-1]
        if engine.kept(run):
            completed(engine.recover(run))

        assert after == there
        assert registry == "completed"
        assert engine.picture() == before


def test_nothing_that_is_there_is_refused(engine: Engine) -> None:
    """DROP INDEX CONCURRENTLY IF EXISTS of what is not there has nothing to roll back."""
    engine.plan("DROP INDEX CONCURRENTLY IF EXISTS t_a;")

    run = engine.rollback()

    assert run.error is not None
    assert run.error.code == "nothing_to_roll_back"


@pytest.mark.parametrize("point", ["committed", "finish_entered", "finish_step_done"])
def test_attempt_that_was_cut_off_is_taken_up(engine: Engine, point: str) -> None:
    """Cut off before, between or after its statements, the next attempt finishes what was begun, once."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a)")
    engine.plan("DROP INDEX CONCURRENTLY t_a; CREATE INDEX CONCURRENTLY t_b ON t (b);")
    before = engine.picture()

    def cut(at: str) -> None:
        if at == point:
            raise _CutOff

    engine.at = cut
    command = engine.command()
    with pytest.raises(_CutOff):
        engine.carry_out(command)
    engine.at = lambda _point: None
    with transaction(engine.ledger) as conn:
        conn.exec_driver_sql("UPDATE ledger.runs SET lease_until = clock_timestamp()")
    assert engine.deliver(command.command_id)
    run = completed(engine.find(1))

    assert _ours(engine) == {"t_pkey": True, "t_b": True}
    assert labels(engine.kept(run)) == ["created index public.t_b", "defined index public.t_a"]
    completed(engine.recover(run))
    assert engine.picture() == before


def test_invalid_remains_are_replaced(engine: Engine) -> None:
    """An index that an earlier attempt left invalid is removed and built anew: IF NOT EXISTS alone would keep it."""
    engine.owner(f"{_TABLE}")
    engine.plan("CREATE INDEX CONCURRENTLY IF NOT EXISTS t_b ON t (b);")

    def leave_remains(at: str) -> None:
        if at == "finish_entered":
            engine.owner("CREATE INDEX t_b ON t (b)")
            engine.admin("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_b'::regclass")

    engine.at = leave_remains
    run = completed(engine.rollback())

    assert _ours(engine) == {"t_pkey": True, "t_b": True}
    assert "in place of invalid remains" in str([step.detail for step in run.steps])


def test_copies_that_reindex_left_are_removed(engine: Engine) -> None:
    """What a REINDEX CONCURRENTLY that was cut off left beside the index goes before the next."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a); CREATE INDEX t_a_ccnew ON t (a)")
    engine.admin("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_a_ccnew'::regclass")
    engine.plan("REINDEX INDEX CONCURRENTLY t_a;")

    completed(engine.rollback())

    assert _ours(engine) == {"t_pkey": True, "t_a": True}


def test_work_that_fails_after_commit_fails_the_run(engine: Engine) -> None:
    """Where CONCURRENTLY is all that was asked for, its failure is the run's, and what went before it can come back."""
    engine.owner(f"{_TABLE} UPDATE t SET b = 1; CREATE INDEX t_a ON t (a)")
    engine.plan("DROP INDEX CONCURRENTLY t_a; CREATE UNIQUE INDEX CONCURRENTLY t_b ON t (b);")
    before = engine.picture()

    run = engine.rollback()
    there = _ours(engine)
    recovered = completed(engine.recover(run))

    assert run.state is State.FAILED
    assert run.error is not None
    assert run.error.code == "statement_failed"
    assert there == {"t_pkey": True}
    assert recovered.state is State.COMPLETED
    assert engine.picture() == before


def test_waiting_for_others_makes_nobody_wait(engine: Engine) -> None:
    """DROP INDEX CONCURRENTLY waits for a transaction that reads the table, longer than lock_timeout; writers go on."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a)")
    engine.plan("DROP INDEX CONCURRENTLY t_a;")
    engine.limits = {"lock_timeout_ms": 200}
    waits: list[float] = []

    with engine.connect("goodbuy_app") as reader, engine.connect("goodbuy_app") as writer:
        reader.execute("BEGIN; SELECT count(*) FROM t")
        thread = threading.Thread(target=engine.rollback)
        thread.start()
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            began = time.monotonic()
            writer.execute("UPDATE t SET b = b + 1 WHERE id = 1")
            waits.append(time.monotonic() - began)
        reader.execute("COMMIT")
        thread.join(30)

    assert completed(engine.find(1)).state is State.COMPLETED
    assert max(waits) < 0.5
    assert _ours(engine) == {"t_pkey": True}


@pytest.mark.parametrize(
    ("rollback", "finish", "says"),
    [
        ("DROP TABLE t; DROP INDEX CONCURRENTLY t_a;", None, "put it into finish.sql"),
        ("DROP TABLE t;", "DROP TABLE u;", "this belongs into rollback.sql"),
        ("DROP TABLE t;", "SELECT 1;", "this belongs into rollback.sql"),
        ("VACUUM t;", None, "changes nothing"),
        ("REINDEX TABLE t;", None, "write REINDEX … CONCURRENTLY"),
        ("VACUUM FULL t;", None, "leave FULL out"),
        ("CREATE INDEX CONCURRENTLY ON t (a);", None, "needs a name"),
        ("CREATE INDEX CONCURRENTLY t_a ON t (b);", None, "exists already"),
        ("DROP INDEX CONCURRENTLY t_pkey;", None, "t_pkey"),
        ("DROP INDEX CONCURRENTLY t_none;", None, "t_none"),
        ("REINDEX TABLE CONCURRENTLY none;", None, "does not exist"),
    ],
)
def test_refused(engine: Engine, rollback: str, finish: str | None, says: str) -> None:
    """What does not belong there, or could not be repeated, is refused in preflight with advice; nothing changes."""
    engine.owner(f"{_TABLE} CREATE INDEX t_a ON t (a)")
    engine.plan(rollback, finish=finish)
    before = engine.picture()

    run = engine.rollback()

    assert run.state is State.REFUSED
    assert run.error is not None
    assert says in run.error.message
    assert engine.picture() == before
