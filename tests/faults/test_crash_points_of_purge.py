"""A worker is killed in the middle of a purge: what it deletes is all there or all gone, and told once."""

from __future__ import annotations

import signal

import pytest

from ledger import audit
from ledger.database import transaction
from ledger.model import Kind, State
from tests import signing
from tests.faults.processes import Station
from tests.harness import Engine
from worker.crash_points import CRASH_POINTS

#: Two tables that refer to each other, a sequence of its own, a view, a type.
_GIVEN = """
CREATE TYPE e AS ENUM ('x');
CREATE SEQUENCE s;
CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s'), u int, e e);
CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t);
INSERT INTO t SELECT n, n, 'x' FROM generate_series(1, 50) AS n;
INSERT INTO u SELECT n, n FROM generate_series(1, 50) AS n;
ALTER TABLE t ADD FOREIGN KEY (u) REFERENCES u;
CREATE VIEW v AS SELECT id FROM t;
"""
_PLAN = "DROP VIEW v; DROP TABLE t, u; DROP SEQUENCE s; DROP TYPE e;"
#: In the order in which one worker after the other dies of them.
_UNAPPROVED = ("impact_pinned", "approval_awaited")
_BEFORE = ("recorded", "changed", "marked")
_AFTER = ("committed", "step_journaled", "finish_entered")


@pytest.fixture
def station(
    engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Station:
    """Give a place to start workers at, on an empty target."""
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path_factory.mktemp("log") / "worker.log")


def test_every_point_is_passed(engine: Engine) -> None:
    """A purge passes the points that every command passes, in their order; it leaves nothing to do after COMMIT."""
    engine.owner(_GIVEN)
    engine.plan(_PLAN)
    run = engine.rollback()
    seen: list[str] = []
    engine.at = seen.append

    done = engine.purge(run)

    assert done.state is State.COMPLETED, done.error
    waited = seen.index("approval_awaited")
    assert seen[:waited] == list(CRASH_POINTS[: CRASH_POINTS.index("preflight_journaled") + 1])
    beyond = {"finish_step_done", "finish_step_journaled"}
    assert list(dict.fromkeys(seen[waited + 1 :])) == [point for point in CRASH_POINTS if point not in beyond]


def test_killed_at_each_point_it_ends_once(station: Station) -> None:
    """Until COMMIT all of it is there, afterwards none; the last worker tells of each object once."""
    engine = station.engine
    engine.owner(_GIVEN)
    engine.plan(_PLAN)
    run = engine.rollback()
    assert run.state is State.COMPLETED, run.error
    between = engine.picture()
    kept = "SELECT count(*) AS n FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'emergency\\_backup\\_r%'"
    whole = engine.query(kept)
    command = engine.command(kind=Kind.PURGE, subject_run=run.run)
    number = station.record(command)

    station.ring(command.command_id)
    for point in (*_UNAPPROVED, *_BEFORE, *_AFTER):
        if point == _BEFORE[0]:
            signing.approve(engine.ledger, number)
        with station.worker(fatal=point) as doomed:
            assert doomed.wait(timeout=60) == -signal.SIGKILL
        assert engine.query(kept) == ([{"n": 0}] if point in _AFTER else whole)
    with station.worker():
        done = station.ended(number)

    assert done.state is State.COMPLETED, done.error
    assert engine.picture() == between
    assert not engine.deliver(command.command_id)
    events = [event.type for event in engine.events(done)]
    stones = engine.query(f"SELECT FROM emergency_backup.purged_objects WHERE run = {number}")
    assert events.count("object_purged") == len(stones) == 4
    assert events.count("run_completed") == 1
    with transaction(engine.ledger) as conn:
        assert audit.verify(conn).ok
