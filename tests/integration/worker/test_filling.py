"""Columns of large tables are filled while others write: no value is missing, none is stale, and nobody waits."""

from __future__ import annotations

import random
import threading

import psycopg
import pytest

from ledger.database import transaction
from ledger.model import Run
from tests.harness import Engine, completed, ended
from worker.commands.rebuilding import LARGE_BYTES
from worker.online import filling

_ROWS = 12_000
_LARGE = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, filler text,"
    " b text COLLATE \"C\" NOT NULL DEFAULT 'none', m mood);"
    "INSERT INTO t SELECT n, nullif(n % 10, 3), repeat('x', 800), 'b' || n, 'ok'"
    f" FROM generate_series(1, {_ROWS}) AS n;"
    "CREATE INDEX t_a ON t (a); COMMENT ON COLUMN t.a IS 'mine'; ALTER TABLE t ALTER b SET STORAGE EXTERNAL;"
    "ALTER TABLE t ADD CONSTRAINT small CHECK (a < 100), ADD CONSTRAINT once UNIQUE (b, id)"
)
_PLAN = "ALTER TABLE t DROP COLUMN a, DROP COLUMN b, DROP COLUMN m;"
_ACCEPTS = ("index public.t_a", "table constraint small on public.t", "table constraint once on public.t")
_TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"
)


class _CutOff(BaseException):
    pass


@pytest.fixture
def large(engine: Engine) -> Engine:
    """Give an engine with a large table, and a plan that drops three of its columns."""
    engine.owner(_LARGE)
    engine.plan(_PLAN, accepts=_ACCEPTS)
    assert engine.query(f"SELECT pg_table_size('t') > {LARGE_BYTES} AS is_large") == [{"is_large": True}]
    return engine


def _preserve_steps(run: Run) -> list[str]:
    return [step.step for step in run.steps if step.phase == "preserve"]


def _left(engine: Engine) -> int:
    """Return how many columns and rows of ours are left."""
    (found,) = engine.query(
        "SELECT (SELECT count(*) FROM pg_attribute WHERE attname LIKE 'stepback%' AND NOT attisdropped"
        "           AND attrelid = 't'::regclass) + (SELECT count(*) FROM emergency_backup.online_fills) AS n"
    )
    count: int = found["n"]
    return count


def test_comes_back_as_it_was(large: Engine) -> None:
    """Everything about the columns is as before, any number of times; nothing is left of the way there."""
    before = large.picture()

    for _ in range(2):
        run = completed(large.rollback())
        recovered = completed(large.recover(run))
        assert large.picture() == before
        assert _preserve_steps(recovered) == ["fill columns of public.t"]
        assert _left(large) == 0
        assert "columns of public.t are filled before the lock, while others write" in recovered.notes


def test_values_are_there_before_the_lock(large: Engine) -> None:
    """When apply begins, all rows have their values; its statements write none."""
    run = completed(large.rollback())
    there: list[int] = []

    def look(point: str) -> None:
        if point == "apply_entered":
            (found,) = large.query("SELECT count(*) AS n FROM t WHERE \"stepback 2 4\" = 'b' || id")
            there.append(found["n"])

    large.at = look
    completed(large.recover(run))
    large.at = lambda _point: None

    assert there == [_ROWS]


@pytest.mark.parametrize(
    "point", ["preserve_entered", "fill_begun", "chunk_filled", "preserve_step_journaled", "apply_entered"]
)
def test_attempt_that_was_cut_off_is_taken_up(large: Engine, point: str) -> None:
    """Cut off anywhere, the next attempt goes on where it stopped."""
    before = large.picture()
    run = completed(large.rollback())
    passed = list[str]()

    def cut(at: str) -> None:
        passed.append(at)
        if at == point and passed.count(at) == (3 if at == "chunk_filled" else 1):
            raise _CutOff

    large.at = cut
    command = large.recovery_of(run)
    with pytest.raises(_CutOff):
        large.carry_out(command)
    passed.clear()
    large.at = passed.append
    with transaction(large.ledger) as conn:
        conn.exec_driver_sql("UPDATE ledger.runs SET lease_until = clock_timestamp() WHERE run = 2")
    assert large.deliver(command.command_id)
    large.at = lambda _point: None

    completed(large.find(2))
    assert large.picture() == before
    assert (passed.count("fill_begun") == 1) is (point == "preserve_entered")
    assert _left(large) == 0


def test_writers_go_on(large: Engine) -> None:
    """Inserts, updates and deletes while columns are filled: nothing is missing, nothing is stale."""
    large.owner("ALTER TABLE t ALTER filler SET DEFAULT ''")
    truth = {row["id"]: (row["a"], row["b"]) for row in large.query("SELECT id, a, b FROM t")}
    run = completed(large.rollback())
    stop, added = threading.Event(), list[int]()
    dice = random.Random(5)  # noqa: S311 - nothing secret

    def write() -> None:
        with psycopg.connect(large.url, autocommit=True) as conn:
            while not stop.is_set() or len(added) < 50:
                key = dice.randrange(1, _ROWS)
                added.append(100_000 + len(added))
                conn.execute("INSERT INTO t (id) VALUES (%s)", (added[-1],))
                conn.execute("UPDATE t SET filler = 'changed' WHERE id = %s", (key + 1,))
                conn.execute("DELETE FROM t WHERE id = %s", (key,))
                truth.pop(key, None)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        completed(large.recover(run))
    finally:
        stop.set()
        writer.join()

    found = {row["id"]: (row["a"], row["b"]) for row in large.query("SELECT id, a, b FROM t")}
    assert found == {**truth, **dict.fromkeys(added, (7, "none"))}


def test_row_that_somebody_holds(large: Engine) -> None:
    """A row that is locked for longer than the budget stops the run, which takes its columns away again."""
    run = completed(large.rollback())
    between = large.picture()
    large.limits = {"lock_timeout_ms": 100, "lock_budget_seconds": 0.5}

    def let_go(point: str) -> None:
        if point == "registry_left":
            holder.rollback()

    large.at = let_go
    with psycopg.connect(large.url) as holder:
        holder.execute("SELECT FROM t WHERE id = 5 FOR UPDATE")
        failed = large.recover(run)
    large.at = lambda _point: None

    assert failed.error is not None
    assert failed.error.code == "lock_budget_spent", ended(failed)
    assert _left(large) == 0
    assert large.picture() == between
    large.limits = {}
    completed(large.recover(run))


@pytest.mark.parametrize(
    "since",
    [
        _TRIGGER,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE TABLE child () INHERITS (t)",
        "ALTER TABLE t SET UNLOGGED",
        "TRUNCATE t",
    ],
    ids=["a trigger", "policies", "a child", "unlogged", "small by now"],
)
def test_under_the_lock_all_the_same(large: Engine, since: str) -> None:
    """Where something would notice the filling, values come back under the lock, as those of a small table do."""
    run = completed(large.rollback())
    large.owner(since)

    recovered = completed(large.recover(run))

    assert _preserve_steps(recovered) == []
    large.owner("ALTER TABLE t NO FORCE ROW LEVEL SECURITY")
    assert large.query("SELECT count(*) AS n FROM ONLY t WHERE b <> 'b' || id") == [{"n": 0}]


def test_a_trigger_that_comes_while_columns_are_filled(large: Engine) -> None:
    """It would take the filling for the application's writing: the run stops, and takes its columns away again."""
    run = completed(large.rollback())
    large.at = lambda point: large.owner(_TRIGGER) if point == "fill_begun" else None

    failed = large.recover(run)
    large.at = lambda _point: None

    assert failed.error is not None
    assert failed.error.code == "copy_not_complete", ended(failed)
    assert _left(large) == 0
    completed(large.recover(run))


def test_what_a_killed_run_leaves_is_swept(large: Engine) -> None:
    """Columns of a run that is over and never applied are taken away."""
    run = completed(large.rollback())
    between = large.picture()

    def cut(at: str) -> None:
        if at == "chunk_filled":
            raise _CutOff

    large.at = cut
    with pytest.raises(_CutOff):
        large.carry_out(large.recovery_of(run))
    large.at = lambda _point: None
    assert _left(large) == 4

    (left,) = filling.of_run(large.session, large.installation, 2)
    filling.let_go(large.session, large.installation, left)

    assert _left(large) == 0
    assert large.picture() == between


def test_somebody_takes_the_columns_away(large: Engine) -> None:
    """A column that somebody drops meanwhile is missed: the run fails, and nothing is half done."""
    run = completed(large.rollback())
    between = large.picture()
    drop = 'ALTER TABLE t DROP COLUMN "stepback 2 4"'
    large.at = lambda point: large.owner(drop) if point == "fill_begun" else None

    failed = large.recover(run)
    large.at = lambda _point: None

    assert failed.error is not None
    assert failed.error.code == "copy_not_complete", ended(failed)
    assert large.picture() == between
    completed(large.recover(run))
