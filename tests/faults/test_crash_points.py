"""A worker is killed at every place between two effects; the next one must bring the run to its one end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ledger.model import Command, Kind, Run, State
from tests.faults.effects import one_effect
from tests.faults.processes import Station, wait_for
from tests.harness import Engine, not_ok
from worker.crash_points import CRASH_POINTS, CRASH_POINTS_ASIDE, CRASH_POINTS_FILL, CRASH_POINTS_PRESERVE
from worker.fingerprint import Fingerprint
from worker.target import Session

#: Tables that go, a type, foreign keys both ways, an identity sequence, a generated column.
_MIGRATION = "add_quickbooks_connections"


@pytest.fixture
def station(sample_engine: Engine, ledger_url: str, redis_url: str, redis_namespace: str, tmp_path: Path) -> Station:
    """Give a place to start workers at, on the sample."""
    return Station(sample_engine, ledger_url, redis_url, redis_namespace, tmp_path / "worker.log")


def _finished(station: Station, run: int) -> Run:
    """Let a sound worker bring a run to its end."""
    with station.worker():
        return station.ended(run)


@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RECOVER])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_kill_at_point(station: Station, point: str, kind: Kind) -> None:
    """Killed at {point}: the target is before or after, never between; another worker completes; one effect."""
    engine = station.engine
    before = engine.fingerprint()
    first = engine.rollback(_MIGRATION) if kind is Kind.RECOVER else None
    middle = engine.fingerprint()
    command = engine.command(kind=kind, migration=_MIGRATION, subject_run=first and first.run)
    run = station.record(command)

    with station.worker(fatal=point) as doomed:
        station.ring(command.command_id)
        assert doomed.wait(timeout=30) == -signal.SIGKILL
    wait_for("the server to notice", lambda: not _sessions_of(engine, run))
    _preserved_before_removed(engine, run, kind, engine.fingerprint(), middle)
    done = _finished(station, run)

    assert done.state is State.COMPLETED, done.error
    assert done.attempt == (1 if point == "settled" else 2)
    if kind is Kind.RECOVER:
        assert engine.fingerprint() == before
    one_effect(engine, done)
    assert engine.registry(_MIGRATION) == ["recovered" if kind is Kind.RECOVER else "completed"]
    _again(station, command, engine.fingerprint())
    if kind is Kind.ROLLBACK:
        assert engine.recover(done).state is State.COMPLETED
        assert engine.fingerprint() == before


def _sessions_of(engine: Engine, run: int) -> list[dict[str, Any]]:
    return engine.query(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name LIKE 'stepback run {run}.%'"
    )


def _preserved_before_removed(engine: Engine, run: int, kind: Kind, now: Fingerprint, middle: Fingerprint) -> None:
    """Whatever is not as it was is preserved, and the marker is there exactly if something changed."""
    marked = engine.query(f"SELECT FROM emergency_backup.marker WHERE run = {run}")
    assert bool(marked) == (now != middle)
    if kind is Kind.ROLLBACK:
        kept = engine.query(f"SELECT FROM emergency_backup.preserved_objects WHERE run = {run}")
        assert bool(kept) == bool(marked)


def _again(station: Station, command: Command, expected: Fingerprint) -> None:
    """Delivered once more, the command changes nothing."""
    assert not station.engine.deliver(command.command_id)
    assert station.engine.fingerprint() == expected


# -- the points themselves ------------------------------------------------------


class _Trace:
    """Writes down, in order, the crash points passed and the effects had."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[str] = []
        engine.at = lambda point: self.seen.append(f"point {point}")

    def effects_without_point(self) -> list[tuple[str, str]]:
        """Return every two effects that follow each other with no point between them."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return [(a, b) for a, b in pairs if a.startswith("effect") and b.startswith("effect")]

    @property
    def points(self) -> list[str]:
        """The points passed, each where it was passed first."""
        return list(dict.fromkeys(seen.removeprefix("point ") for seen in self.seen if seen.startswith("point")))


@pytest.fixture
def trace(sample_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Trace]:
    """Give a trace of everything that ledger and target are told to keep.

    A heartbeat is no effect: it changes nothing that a later attempt looks at. Asking is the producer's.
    """
    traced = _Trace(sample_engine)
    written: list[str] = []

    def note_write(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        told = " ".join(statement.split())
        asked = told.startswith(("INSERT INTO ledger.commands", "INSERT INTO ledger.runs"))
        wrote = told.startswith(("INSERT", "UPDATE", "WITH")) or "append_audit_event" in told
        if wrote and not asked and "worker = %(worker)s" not in told.partition("WHERE")[2]:
            written.append(told)

    def note_commit(_conn: object) -> None:
        if written:
            traced.seen.append(f"effect in the ledger: {written[0][:60]}")
            written.clear()

    event.listen(sample_engine.ledger, "before_cursor_execute", note_write)
    event.listen(sample_engine.ledger, "commit", note_commit)
    _watch_target(traced, monkeypatch)
    yield traced
    event.remove(sample_engine.ledger, "before_cursor_execute", note_write)
    event.remove(sample_engine.ledger, "commit", note_commit)


def _watch_target(traced: _Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    commit: Callable[[Session], None] = Session.commit
    execute: Callable[..., int] = Session.execute

    def noted_commit(session: Session) -> None:
        commit(session)
        traced.seen.append("effect in the target: COMMIT")

    def noted_execute(session: Session, statement: str, *rest: object) -> int:
        alone = not session.in_transaction
        count = execute(session, statement, *rest)
        if alone and not session.in_transaction and not statement.startswith(("SET", "ROLLBACK")):
            traced.seen.append(f"effect in the target: {statement[:60]}")
        return count

    monkeypatch.setattr(Session, "commit", noted_commit)
    monkeypatch.setattr(Session, "execute", noted_execute)


def test_every_point_is_passed_and_none_is_missing(sample_engine: Engine, trace: _Trace) -> None:
    """Rollback and recovery pass every listed point in order, and have no two effects without one in between."""
    first = sample_engine.rollback(_MIGRATION)
    rollback, effects = trace.points, trace.effects_without_point()
    trace.seen.clear()
    sample_engine.recover(first)

    assert rollback == list(CRASH_POINTS)
    assert effects == []
    assert trace.points == list(CRASH_POINTS)
    assert trace.effects_without_point() == []


#: The points of a validation that finds something; it touches nothing, so it raises no fence and has no apply.
_OF_A_VALIDATION = ("claimed", "finish_entered", "finish_step_done", "finish_step_journaled", "validation_journaled")


def test_points_of_a_validation(sample_engine: Engine, trace: _Trace) -> None:
    """A validation passes its points in order, and has no two effects without one; nor has a check after COMMIT."""
    sample_engine.admin(
        "SET session_replication_role = replica; INSERT INTO business_views (business_id) VALUES (gen_random_uuid())"
    )

    sample_engine.validate()
    validation, effects = trace.points, trace.effects_without_point()
    trace.seen.clear()
    sample_engine.rollback(_MIGRATION)

    assert validation == [*_OF_A_VALIDATION, "settled"]
    assert effects == []
    assert trace.points == [*CRASH_POINTS[:-1], "validation_journaled", "settled"]
    assert trace.effects_without_point() == []


@pytest.mark.parametrize("point", _OF_A_VALIDATION)
def test_kill_a_validation(station: Station, point: str) -> None:
    """Killed at {point}: the next worker looks at everything again, and the target is as it was."""
    engine = station.engine
    engine.owner("ALTER TABLE businesses DISABLE TRIGGER businesses_touch_updated_at")
    before = engine.fingerprint()
    command = engine.command(kind=Kind.VALIDATE, migration=None)
    run = station.record(command)

    with station.worker(fatal=point) as doomed:
        station.ring(command.command_id)
        assert doomed.wait(timeout=30) == -signal.SIGKILL
    done = _finished(station, run)

    assert (done.state, done.attempt) == (State.COMPLETED, 2)
    assert list(not_ok(done)) == ["disabled triggers of public.businesses"]
    _again(station, command, before)


def test_points_aside_are_passed(sample_engine: Engine, trace: _Trace, tmp_path: Path) -> None:
    """Where it does not work out, too, no two effects follow each other without a point in between."""
    engine = sample_engine
    engine.plans = tmp_path
    engine.plan("DROP TABLE health_alerts;", verify="SELECT false;", migration="gated")
    engine.plan("DROP TABLE health_alerts;", migration="locked")
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 0.2}

    gated = engine.rollback("gated")
    with engine.connect("goodbuy_app") as reader, reader.transaction():
        reader.execute("SELECT FROM health_alerts")
        locked = engine.rollback("locked")

    assert gated.error is not None
    assert gated.error.code == "gate_failed"
    assert locked.error is not None
    assert locked.error.code == "lock_budget_spent"
    assert {"lock_wait_journaled", "registry_left"} <= set(trace.points)
    assert trace.effects_without_point() == []


@pytest.mark.parametrize("point", ["registry_left", "lock_wait_journaled"])
def test_kill_on_the_way_down(station: Station, point: str, tmp_path: Path) -> None:
    """Killed while it fails: the next worker lets it fail, the registry says so, and nothing is changed."""
    engine = station.engine
    engine.plans = tmp_path
    engine.plan("DROP TABLE health_alerts;", verify="SELECT false;", migration="gated")
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 2}
    before = engine.fingerprint()
    command = engine.command(migration="gated")
    run = station.record(command)

    with engine.connect("goodbuy_app") as reader, reader.transaction():
        if point == "lock_wait_journaled":
            reader.execute("SELECT FROM health_alerts")
        with station.worker(fatal=point) as doomed:
            station.ring(command.command_id)
            assert doomed.wait(timeout=30) == -signal.SIGKILL
    done = _finished(station, run)

    assert (done.state, done.error and done.error.code) == (State.FAILED, "gate_failed")
    assert engine.registry("gated") == ["failed"]
    assert engine.fingerprint() == before


def test_every_point_of_an_online_copy_is_passed(sample_engine: Engine, trace: _Trace, tmp_path: Path) -> None:
    """Columns that are copied online pass their points in order, in their place, each effect apart from the next."""
    engine = sample_engine
    engine.plans = tmp_path
    engine.plan("ALTER TABLE health_metrics DROP COLUMN overall_score;", online_rows=0)
    write = {
        "copy_made": "UPDATE health_metrics SET overall_score = 1 WHERE id IN (SELECT id FROM health_metrics LIMIT 1)"
    }

    def at(point: str) -> None:
        trace.seen.append(f"point {point}")
        if point in write:
            # Not through a session of ours: no effect of the run's.
            engine.owner(write.pop(point))

    engine.at = at

    done = engine.rollback()

    assert done.state is State.COMPLETED, done.error
    place = CRASH_POINTS.index("apply_entered")
    assert trace.points == [*CRASH_POINTS[:place], *CRASH_POINTS_PRESERVE, *CRASH_POINTS[place:]]
    assert trace.effects_without_point() == []


def test_every_point_of_a_fill_is_passed(sample_engine: Engine, trace: _Trace, tmp_path: Path) -> None:
    """Columns that are filled before they come back pass their points, each effect apart from the next."""
    engine = sample_engine
    engine.owner(
        "CREATE TABLE large AS SELECT n AS id, n AS a, repeat('x', 900) AS b FROM generate_series(1, 10000) AS n;"
        "ALTER TABLE large ADD PRIMARY KEY (id)"
    )
    engine.plans = tmp_path
    engine.plan("ALTER TABLE large DROP COLUMN a;")
    run = engine.rollback()
    trace.seen.clear()

    done = engine.recover(run)

    assert done.state is State.COMPLETED, done.error
    first, last = trace.points.index("preserve_entered"), trace.points.index("apply_entered")
    begun, *chunks, journaled = trace.points[first + 1 : last]
    assert (begun, {*chunks}, journaled) == ("fill_begun", {"chunk_filled"}, "preserve_step_journaled")
    assert trace.effects_without_point() == []


def test_points_of_a_copy_that_is_given_up(sample_engine: Engine, trace: _Trace, tmp_path: Path) -> None:
    """A copy that is outdated again and again, and is let go in the end, has no two effects without a point either."""
    engine = sample_engine
    engine.plans = tmp_path
    engine.plan("ALTER TABLE health_metrics DROP COLUMN overall_score;", online_rows=0)

    def at(point: str) -> None:
        trace.seen.append(f"point {point}")
        if point == "apply_entered":
            engine.owner("BEGIN; TRUNCATE health_metrics; ROLLBACK; CLUSTER health_metrics USING health_metrics_pkey")

    engine.at = at

    done = engine.rollback()

    assert done.error is not None
    assert done.error.code == "copy_not_complete"
    assert {"writers_waited_for", "copy_outdated_journaled", "registry_left", "copy_let_go"} <= set(trace.points)
    assert trace.effects_without_point() == []


def test_points_aside_are_listed() -> None:
    """No point is in two of the lists."""
    every = (*CRASH_POINTS, *CRASH_POINTS_PRESERVE, *CRASH_POINTS_FILL, *CRASH_POINTS_ASIDE)
    assert len(set(every)) == len(every)
