"""Workers are killed or frozen while they copy columns that others write to; nothing is missing, nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.model import Run, State
from tests.faults.effects import one_effect
from tests.faults.processes import Station, frozen, wait_for
from tests.harness import Engine
from worker.crash_points import CRASH_POINTS_PRESERVE

_ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric);
INSERT INTO items SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 5000) AS i;
CREATE TABLE truth AS SELECT id, price FROM items;
"""
_OURS = "SELECT FROM pg_trigger WHERE tgname LIKE 'stepback%' UNION ALL SELECT FROM emergency_backup.online_copies"


@pytest.fixture
def station(engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path: Path) -> Station:
    """Give a place to start workers at, with a table that loses a column."""
    engine.owner(_ITEMS)
    engine.plan("ALTER TABLE items DROP COLUMN price;", online_rows=0)
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path / "worker.log")


@contextmanager
def _write(engine: Engine) -> Iterator[None]:
    """Write while the block lasts, so that the copy lacks it, and what keeps it true must wait for it."""
    with engine.connect("goodbuy_app") as writer:
        writer.execute("BEGIN; UPDATE items SET price = -1 WHERE id = 1; DELETE FROM items WHERE id = 2")
        writer.execute("UPDATE truth SET price = -1 WHERE id = 1; DELETE FROM truth WHERE id = 2")
        yield
        writer.execute("COMMIT")


def _is_made(engine: Engine) -> bool:
    return bool(engine.query("SELECT FROM emergency_backup.online_copies"))


def _exact(engine: Engine, run: Run) -> None:
    """See that a run kept exactly what was there, and that it comes back."""
    assert run.state is State.COMPLETED, run.error
    one_effect(engine, run)
    (inside,) = {row.inside for row in engine.kept(run)}
    differ = "(SELECT id, price FROM {t} EXCEPT TABLE truth) UNION ALL (TABLE truth EXCEPT SELECT id, price FROM {t})"
    assert engine.query(differ.format(t=inside)) == []
    assert engine.query(_OURS) == []
    assert engine.recover(run).state is State.COMPLETED
    assert engine.query(differ.format(t="items")) == []


@pytest.mark.parametrize("point", CRASH_POINTS_PRESERVE)
def test_kill_at_point(station: Station, point: str) -> None:
    """Killed at {point}: the table is whole and can be written to, another worker goes on, and the effect is one."""
    engine = station.engine
    before = engine.fingerprint().schema
    command = engine.command()
    run = station.record(command)

    with station.worker(fatal=point) as doomed:
        with _write(engine):
            station.ring(command.command_id)
            if point not in {"preserve_entered", "copy_made"}:
                wait_for("the copy", lambda: _is_made(engine))
        assert doomed.wait(timeout=30) == -signal.SIGKILL
    engine.owner("UPDATE items SET price = -3 WHERE id = 3; UPDATE truth SET price = -3 WHERE id = 3")
    with station.worker():
        done = station.ended(run)

    assert done.attempt == 2
    _exact(engine, done)
    assert engine.fingerprint().schema == before


@pytest.mark.parametrize("point", ["copy_made", "copy_kept", "copy_complete"])
def test_woken_worker_has_no_second_effect(station: Station, tmp_path: Path, point: str) -> None:
    """Frozen at {point} until another worker has completed the run, a worker that wakes changes nothing more."""
    engine, token = station.engine, tmp_path / "frozen"
    command = engine.command()
    run = station.record(command)

    with station.workers(2, point, token):
        station.ring(command.command_id)
        pid = frozen(token)
        station.ended(run)
        os.kill(pid, signal.SIGCONT)
        wait_for("it to give up", lambda: bool(station.told("command_attempted", run=run, attempt=1)))

    _exact(engine, engine.find(run))


def test_swept_by_any_worker(station: Station) -> None:
    """What a worker that was killed leaves of a run that is over, another worker takes away in its own time."""
    engine = station.engine
    before = engine.fingerprint()
    command = engine.command()
    run = station.record(command)
    with station.worker(fatal="copy_complete") as doomed:
        station.ring(command.command_id)
        assert doomed.wait(timeout=30) == -signal.SIGKILL
    with engine.ledger.begin() as ledger:
        over = "UPDATE ledger.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE run = %s"
        ledger.exec_driver_sql(over, (run,))

    left = engine.query(_OURS)
    with replace(station, more={"STEPBACK_WORKER_SWEEP_SECONDS": "0.2"}).worker():
        wait_for("the sweep", lambda: engine.query(_OURS) == [])

    assert len(left) == 4
    assert engine.fingerprint() == before
    assert engine.query("SELECT FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'") == []
