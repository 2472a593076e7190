"""The same kills on other kinds of plans: scripts in stages, partitions, definitions; out and back.

tests/faults/test_crash_points.py kills one plan at every point. Here are the points at which these plans differ from
it: in the first change, before COMMIT, after it, and while its steps are written down. A kill takes ten seconds, so
each kind gets a sample: scripts in stages one more, since nothing else compiles anything inside apply.
"""

from __future__ import annotations

import signal

import pytest

from ledger import audit
from ledger.database import transaction
from ledger.model import Kind, Run, State
from tests.faults.processes import Station
from tests.harness import Engine

#: For each kind the points of the way there, and those of the way back.
POINTS = {
    "columns": (("changed",), ("fill_begun", "chunk_filled", "preserve_step_journaled", "marked")),
    "indexes": (("changed",), ("finish_entered", "finish_step_done", "finish_step_journaled")),
    "stages": (("changed", "step_journaled"), ("marked",)),
    "partitions": (("marked",), ("committed",)),
    "definitions": (("committed",), ("changed",)),
}
#: Before these nothing is committed.
_NOTHING_YET = {"changed", "marked"}

_STAGES = """
CREATE TABLE t (id int PRIMARY KEY, a int, b text);
INSERT INTO t SELECT n, n, 'b' || n FROM generate_series(1, 50) AS n;
CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);
INSERT INTO u SELECT n, n FROM generate_series(1, 50) AS n;
"""
_IN_STAGES = """
ALTER TABLE t ALTER a TYPE text USING a || '!';
DELETE FROM t WHERE id > 40;
CREATE TABLE made (id serial PRIMARY KEY);
INSERT INTO made DEFAULT VALUES;
ALTER TABLE u RENAME TO w;
DROP TABLE w;
"""
_PARTITIONS = """
CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE p2 PARTITION OF p DEFAULT;
INSERT INTO p SELECT n, date '2024-12-01' + n FROM generate_series(1, 60) AS n;
CREATE INDEX ON p (at);
"""
_DEFINITIONS = """
CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, 1);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE VIEW v AS SELECT id FROM t;
COMMENT ON VIEW v IS 'mine';
GRANT SELECT ON v TO PUBLIC;
"""
_LARGE = """
CREATE TABLE t (id int PRIMARY KEY, a int, b text);
INSERT INTO t SELECT n, n, repeat('x', 900) FROM generate_series(1, 10000) AS n;
CREATE INDEX t_a ON t (a);
CREATE INDEX t_e ON t ((a + 1));
"""
#: Schema and plan.
KINDS = {
    "indexes": (_LARGE, "DROP INDEX t_a, t_e;"),
    "columns": (f"{_LARGE} DROP INDEX t_a, t_e;", "ALTER TABLE t DROP COLUMN a;"),
    "stages": (_STAGES, _IN_STAGES),
    "partitions": (_PARTITIONS, "DROP TABLE p, p1, p2;"),
    "definitions": (
        _DEFINITIONS,
        "DROP VIEW v; DROP TRIGGER g ON t; DROP FUNCTION f(); CREATE VIEW v AS SELECT n FROM t;",
    ),
}


@pytest.fixture
def station(
    engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Station:
    """Give a place to start workers at, on an empty target."""
    return Station(engine, ledger_url, redis_url, redis_namespace, tmp_path_factory.mktemp("log") / "worker.log")


@pytest.mark.parametrize("back", [False, True], ids=["rollback", "recovery"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_each_point_it_ends_once(station: Station, kind: str, *, back: bool) -> None:
    """A worker dies at one point after the other of one run; the last one completes it, and it had its effect once."""
    engine, (given, plan) = station.engine, KINDS[kind]
    engine.owner(given)
    engine.plan(plan)
    before = engine.picture()
    first = engine.rollback() if back else None
    command = engine.command(kind=Kind.RECOVER if back else Kind.ROLLBACK, subject_run=first and first.run)
    run = station.record(command)

    station.ring(command.command_id)
    for point in POINTS[kind][back]:
        with station.worker(fatal=point) as doomed:
            assert doomed.wait(timeout=30) == -signal.SIGKILL
        if point in _NOTHING_YET:
            assert engine.query(f"SELECT FROM emergency_backup.marker WHERE run = {run}") == []
    with station.worker():
        done = station.ended(run)

    _ended_once(engine, done)
    assert not engine.deliver(command.command_id)
    if not back:
        assert engine.recover(done).state is State.COMPLETED
    assert engine.picture() == before


def _ended_once(engine: Engine, run: Run) -> None:
    """See that a run completed with one marker, each step once, one end, and that the chain of events is whole."""
    assert run.state is State.COMPLETED, run.error
    (marked,) = engine.query(f"SELECT steps FROM emergency_backup.marker WHERE run = {run.run}")
    assert [step.step for step in run.steps if step.phase == "apply"] == [step["step"] for step in marked["steps"]]
    settled = [e.type for e in engine.events(run) if e.type.startswith("run_") and e.type != "run_claimed"]
    assert settled == ["run_completed"]
    with transaction(engine.ledger) as conn:
        assert audit.verify(conn).ok
