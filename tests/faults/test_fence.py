"""A worker is frozen in mid-run and wakes when another has finished it: nothing may happen twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg
from structlog.testing import capture_logs

from ledger.model import Kind
from tests.faults.effects import one_effect
from tests.faults.processes import Station, frozen, wait_for
from tests.harness import Engine, completed
from worker import fence
from worker.fence import Holder
from worker.target import IDLE_IN_TRANSACTION_MS, Session

#: Where it is frozen, in what, and whose effect it is: once committed, that of the attempt which froze.
_FROZEN_AT = [
    *(("impact_pinned", Kind.ROLLBACK, 2), ("apply_begun", Kind.ROLLBACK, 2), ("locked", Kind.ROLLBACK, 2)),
    *(("proved", Kind.ROLLBACK, 2), ("marked", Kind.ROLLBACK, 2), ("committed", Kind.ROLLBACK, 1)),
    *(("impact_pinned", Kind.RECOVER, 2), ("marked", Kind.RECOVER, 2), ("committed", Kind.RECOVER, 1)),
]


def _wake(station: Station, pid: int, run: int) -> None:
    """Let a frozen worker go on, until it has given up its attempt."""
    os.kill(pid, signal.SIGCONT)
    wait_for("it to give up", lambda: bool(station.told("command_attempted", run=run, attempt=1)))
    (told,) = station.told("command_attempted", run=run, attempt=1)
    assert told["state"] is None


@pytest.mark.parametrize(("point", "kind", "effective"), _FROZEN_AT)
def test_woken_worker_has_no_second_effect(
    station: Station, tmp_path: Path, point: str, kind: Kind, effective: int
) -> None:
    """Frozen at {point} until another worker has completed the run, a worker that wakes changes nothing more."""
    engine, token = station.engine, tmp_path / "frozen"
    first = engine.rollback() if kind is Kind.RECOVER else None
    command = engine.command(kind=kind, subject_run=first and first.run)
    run = station.record(command)

    with station.workers(2, point, token):
        station.ring(command.command_id)
        pid = frozen(token)
        taken_over = station.ended(run)
        after, told = engine.fingerprint(), engine.events(taken_over)
        _wake(station, pid, run)

    done = completed(engine.find(run))
    assert done == taken_over
    assert done.attempt == 2
    assert one_effect(engine, done) == effective
    assert engine.events(done) == told
    assert engine.fingerprint() == after
    assert engine.registry() == ["completed" if kind is Kind.ROLLBACK else "recovered"]


def test_woken_after_the_recovery(station: Station, tmp_path: Path) -> None:
    """Frozen after its COMMIT until the run was completed and recovered, a worker leaves what is back alone."""
    engine, token = station.engine, tmp_path / "frozen"
    before = engine.fingerprint()
    command = engine.command()
    run = station.record(command)

    with station.workers(2, "finish_entered", token):
        station.ring(command.command_id)
        pid = frozen(token)
        completed(engine.recover(station.ended(run)))
        _wake(station, pid, run)

    assert engine.fingerprint() == before
    assert engine.registry() == ["recovered"]


class _Reader(threading.Thread):
    """Reads a table over and over until it is gone, and notes its longest wait."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.longest = 0.0
        self.reads = 0

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            gone = False
            while not gone:
                began = time.monotonic()
                try:
                    conn.execute("SELECT count(*) FROM box")
                except pg.UndefinedTable:
                    gone = True
                self.longest = max(self.longest, time.monotonic() - began)
                self.reads += 1


def test_readers_wait_no_longer_than_the_limits(station: Station, tmp_path: Path, empty_target_owner_url: str) -> None:
    """Frozen with every lock held, a worker keeps readers waiting for two seconds and its successor's lock_timeout."""
    engine, token = station.engine, tmp_path / "frozen"
    engine.limits = {"lock_timeout_ms": 500}
    command = engine.command()
    run = station.record(command)

    with station.workers(2, "marked", token):
        reader = _Reader(empty_target_owner_url)
        reader.start()
        wait_for("the first reads", lambda: reader.reads > 10)
        station.ring(command.command_id)
        pid = frozen(token)
        wait_for("the fence to be waited for", lambda: _waits_for_fence(engine, run))
        completed(station.ended(run))
        reader.join(timeout=10)
        _wake(station, pid, run)

    assert not reader.is_alive()
    assert 1 < reader.longest < IDLE_IN_TRANSACTION_MS / 1000 + 0.5 + 1.5


def _waits_for_fence(engine: Engine, run: int) -> bool:
    return bool(
        engine.query(
            f"SELECT FROM pg_stat_activity WHERE application_name = 'stepback run {run}.2' AND wait_event_type = 'Lock'"
        )
    )


@pytest.mark.parametrize("which", ["registry", "apply"])
def test_fence_stops_who_had_the_lease_checked(
    engine: Engine, ledger_admin_url: str, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Held up between the look at its lease and its first write to the {which}, an attempt meets the next one's fence.

    Both attempts are in this process: no crash point is where they are parted.
    """
    engine.owner("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    engine.plan("DROP TABLE t;")
    stand_behind, seen = fence.stand_behind, list[int]()

    def held_up(session: Session, holder: Holder) -> None:
        seen.append(holder.attempt)
        if seen == ([1] if which == "registry" else [1, 1]):
            with psycopg.connect(ledger_admin_url) as admin:
                admin.execute("UPDATE ledger.runs SET lease_until = clock_timestamp()")
            assert engine.deliver(command.command_id)
        stand_behind(session, holder)

    monkeypatch.setattr(fence, "stand_behind", held_up)
    command = engine.command()
    with capture_logs() as lines:
        done = completed(engine.carry_out(command))

    attempts = {line["attempt"]: line["code"] for line in lines if line["event"] == "command_attempted"}
    assert attempts == {1: "fenced", 2: None}
    assert one_effect(engine, done) == 2
    assert engine.registry() == ["completed"]
