"""Indexes of large tables come back after COMMIT, CONCURRENTLY, and are never left invalid."""

from __future__ import annotations

import threading

import psycopg
import pytest

from ledger.database import transaction
from ledger.model import Run
from tests.harness import Engine, completed
from worker.commands.rebuilding import LARGE_BYTES

#: Over the size from which indexes are built afterwards.
_LARGE = (
    "CREATE TABLE t (id int PRIMARY KEY, a int, b text);"
    "INSERT INTO t SELECT n, n % 100, repeat('x', 900) FROM generate_series(1, 10000) AS n;"
    "CREATE INDEX t_a ON t (a DESC) WHERE a > 5; ALTER INDEX t_a SET (fillfactor = 70); COMMENT ON INDEX t_a IS 'mine';"
    "CREATE INDEX t_e ON t ((a + 1)); ALTER INDEX t_e ALTER COLUMN 1 SET STATISTICS 300;"
    "CREATE UNIQUE INDEX t_u ON t (id, a)"
)


class _CutOff(BaseException):
    pass


@pytest.fixture
def large(engine: Engine) -> Engine:
    """Give an engine with a large table and its indexes."""
    engine.owner(_LARGE)
    assert engine.query(f"SELECT pg_table_size('t') > {LARGE_BYTES} AS is_large") == [{"is_large": True}]
    return engine


def _in_phase(run: Run, phase: str, name: str) -> list[str]:
    return [step.outcome for step in run.steps if step.phase == phase and name in step.step]


def test_built_after_commit(large: Engine) -> None:
    """Plain indexes come back in the finish, with all that they had; a unique one inside the transaction."""
    before = large.picture()
    large.plan("DROP INDEX t_a, t_e, t_u;")
    run = completed(large.rollback())

    recovered = completed(large.recover(run))

    assert large.picture() == before
    for name, phase in (("t_a", "finish"), ("t_e", "finish"), ("t_u", "apply")):
        assert _in_phase(recovered, phase, f"public.{name}") == ["completed"], name
    assert large.recover(run).error is not None


def test_with_columns(large: Engine) -> None:
    """Likewise where a column comes back; an index that the rollback had changed as well comes back at once."""
    before = large.picture()
    large.plan(
        "ALTER INDEX t_a RESET (fillfactor); DROP INDEX t_a; ALTER TABLE t DROP COLUMN a;",
        accepts=("index public.t_e", "index public.t_u"),
    )
    run = completed(large.rollback())

    recovered = completed(large.recover(run))

    assert large.picture() == before
    assert _in_phase(recovered, "apply", "index public.t_a") != []
    assert _in_phase(recovered, "finish", "build index public.t_e") == ["completed"]


def test_writers_go_on(large: Engine) -> None:
    """While an index is built, rows are written; all of them are in it."""
    large.plan("DROP INDEX t_a;")
    run = completed(large.rollback())
    written, stop = list[int](), threading.Event()

    def write() -> None:
        with psycopg.connect(large.url, autocommit=True) as conn:
            while not stop.is_set() or len(written) < 50:
                number = 20_000 + len(written)
                conn.execute("INSERT INTO t VALUES (%s, 77, '')", (number,))
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        completed(large.recover(run))
    finally:
        stop.set()
        writer.join()

    with psycopg.connect(large.url) as conn:
        conn.execute("SET enable_seqscan = off")
        found = conn.execute("SELECT count(*) FROM t WHERE a = 77 AND id >= 20000").fetchall()
    assert found == [(len(written),)]
    assert large.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass") == [{"indisvalid": True}]


@pytest.mark.parametrize("point", ["committed", "finish_entered", "finish_step_done"])
def test_attempt_that_was_cut_off_is_taken_up(large: Engine, point: str) -> None:
    """Cut off before, between or after, with invalid remains, the next attempt builds what is missing, once."""
    before = large.picture()
    large.plan("DROP INDEX t_a, t_e;")
    run = completed(large.rollback())

    def cut(at: str) -> None:
        if at == point:
            raise _CutOff

    large.at = cut
    command = large.recovery_of(run)
    with pytest.raises(_CutOff):
        large.carry_out(command)
    large.at = lambda _point: None
    if point != "finish_step_done":
        large.owner("CREATE INDEX t_e ON t (b)")
        large.admin("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_e'::regclass")
    with transaction(large.ledger) as conn:
        conn.exec_driver_sql("UPDATE ledger.runs SET lease_until = clock_timestamp() WHERE run = 2")
    assert large.deliver(command.command_id)

    completed(large.find(2))
    assert large.picture() == before


def test_name_that_is_taken_meanwhile(large: Engine) -> None:
    """Somebody makes another index of the name before it is built: that stays, and the definition stays preserved."""
    large.plan("DROP INDEX t_a;")
    run = completed(large.rollback())

    def take(at: str) -> None:
        if at == "finish_entered":
            large.owner("CREATE INDEX t_a ON t (b)")

    large.at = take
    recovered = large.recover(run)
    large.at = lambda _point: None

    assert recovered.state == "completed"
    assert _in_phase(recovered, "finish", "build index public.t_a") == ["failed"]
    large.owner("DROP INDEX t_a")
    completed(large.recover(run))
    assert large.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass") == [{"indisvalid": True}]
