"""Target and ledger go away, or break off in the one moment when nobody knows what happened: still one effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from ledger.model import AuditEvent, Kind, Run, State
from stepback.embedded import Postgres, ensure_roles_and_databases
from tests.databases import fresh_database
from tests.faults.conftest import PLAN, SCHEMA
from tests.faults.effects import one_effect
from tests.faults.processes import Station, frozen, wait_for
from tests.faults.proxy import Cut, Proxy
from tests.harness import TARGET, Engine, completed, ended

_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"


def _postponed(engine: Engine, run: Run) -> list[AuditEvent]:
    return [event for event in engine.events(run) if event.type == "attempt_postponed"]


def _resume_after(station: Station, pid: int, run: int) -> None:
    """Let a frozen worker go on, until its first attempt is over."""
    os.kill(pid, signal.SIGCONT)
    wait_for("the attempt to be over", lambda: bool(station.told("command_attempted", run=run, attempt=1)))


#: An object id far from those that are given out: databases of two servers can have it.
_OID = 5_000_001


def _engine_on(server: Postgres, ledger: sqlalchemy.Engine, plans: Path) -> Engine:
    """Make the small target on a server, as a database of the object id that is always the same."""
    Engine(server, ledger, "postgres", plans).admin(f"CREATE DATABASE twin OWNER goodbuy_app OID {_OID}")
    engine = Engine(server, ledger, "twin", plans)
    engine.install()
    engine.owner(SCHEMA)
    engine.plan(PLAN)
    return engine


# -- the target is away ---------------------------------------------------------


@pytest.fixture
def own_engine(
    pytestconfig: pytest.Config, data_folder: Path, ledger_engine: sqlalchemy.Engine, tmp_path: Path
) -> Iterator[Engine]:
    """Give an engine on the small target, on a PostgreSQL server of its own."""
    version = pytestconfig.getoption("--pg-version")
    with Postgres.start(data_folder, version=version, settings={"fsync": "off"}) as server:
        ensure_roles_and_databases(server)
        own = _engine_on(server, ledger_engine, tmp_path / "own_plans")
        yield own
        own.close()


def test_target_comes_back(station: Station, own_engine: Engine, data_folder: Path) -> None:
    """While the target's server is stopped its run is postponed, however often; once it is back, it completes."""
    station = replace(station, engine=own_engine, more={"STEPBACK_WORKER_MAX_ATTEMPTS": "2"})
    run = station.record(own_engine.command())
    version = own_engine.postgres.version
    own_engine.postgres.stop()

    with station.worker():
        wait_for("attempts", lambda: len(_postponed(own_engine, own_engine.find(run))) > 3)
        assert own_engine.find(run).state is State.IN_PROGRESS
        with Postgres.start(data_folder, version=version, settings={"fsync": "off"}):
            done = completed(station.ended(run))
            assert one_effect(own_engine, done) == done.attempt
            own_engine.close()

    assert {event.detail["code"] for event in _postponed(own_engine, done)} == {"target_unreachable"}


def test_target_stays_away(station: Station, tmp_path: Path) -> None:
    """A target that stays away for longer than it may is a person's business; nothing was done there."""
    engine = station.engine
    station = replace(station, more={"STEPBACK_WORKER_UNREACHABLE_SECONDS": "1"})
    before = engine.fingerprint()
    engine.url = f"postgresql://stepback_worker:secret@/shop?host={tmp_path}"
    run = station.record(engine.command())

    with station.worker():
        done = station.ended(run)

    assert (done.state, done.error and done.error.code) == (State.NEEDS_OPERATOR, "target_unreachable")
    assert _postponed(engine, done)
    assert engine.fingerprint() == before
    assert b"secret" not in station.log.read_bytes()


@pytest.mark.parametrize(
    ("point", "effective"),
    [
        *(("fence_raised", 2), ("impact_pinned", 2), ("registry_in_progress", 2), ("apply_begun", 2), ("marked", 2)),
        *(("committed", 1), ("finish_entered", 1), ("finish_step_journaled", 1)),
    ],
)
def test_target_hangs_up(station: Station, tmp_path: Path, point: str, effective: int) -> None:
    """Its connections ended at {point}, the worker itself comes back to the run and completes it."""
    engine, token = station.engine, tmp_path / "frozen"
    # One table: where its finish step is journaled, nothing is left but to settle.
    engine.plan("DROP TABLE lid;")
    run = station.record(engine.command())

    with station.workers(1, point, token):
        pid = frozen(token)
        engine.query(f"{_OTHERS} AND application_name LIKE 'stepback run %'")
        _resume_after(station, pid, run)
        done = completed(station.ended(run))

    assert len(_postponed(engine, done)) == 1
    assert (done.attempt, one_effect(engine, done)) == (2, effective)
    assert station.told("attempt_broke") == []


# -- another target -------------------------------------------------------------


def test_another_database_behind_the_name(
    station: Station, postgres: Postgres, ledger_engine: sqlalchemy.Engine, tmp_path: Path
) -> None:
    """If the target's name leads elsewhere on the second attempt, a person decides: nothing is done in either place."""
    with fresh_database(postgres, "other", owner="goodbuy_app") as name:
        other = Engine(postgres, ledger_engine, name, tmp_path / "plans")
        other.install()
        other.owner(SCHEMA)
        _leads_elsewhere(station, other, tmp_path)
        other.close()


def test_same_object_id_on_another_server(
    station: Station, own_engine: Engine, postgres: Postgres, ledger_engine: sqlalchemy.Engine, tmp_path: Path
) -> None:
    """A database of the same object id on another server is another one."""
    twin = _engine_on(postgres, ledger_engine, tmp_path / "plans")
    try:
        _leads_elsewhere(replace(station, engine=twin), own_engine, tmp_path)
    finally:
        twin.close()
        Engine(postgres, ledger_engine, "postgres", tmp_path).admin("DROP DATABASE twin WITH (FORCE)")


def _leads_elsewhere(station: Station, other: Engine, tmp_path: Path) -> None:
    engine, url = station.engine, tmp_path / "url"
    url.write_text(engine.url, encoding="utf-8")
    name = f"STEPBACK_TARGETS__{TARGET.upper()}"
    station = replace(station, more={f"{name}__URL_FILE": str(url)}, less=frozenset({f"{name}__URL"}))
    before, there = engine.fingerprint(), other.fingerprint()
    run = station.record(engine.command())

    with station.worker("apply_noted") as doomed:
        assert doomed.wait(timeout=30) == -signal.SIGKILL
    url.write_text(other.url, encoding="utf-8")
    with station.worker():
        done = station.ended(run)

    assert (done.state, done.attempt) == (State.NEEDS_OPERATOR, 2), ended(done)
    assert engine.fingerprint() == before
    assert other.fingerprint() == there


# -- COMMIT, and then nothing ---------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RECOVER])
@pytest.mark.parametrize(("cut", "effective"), [(Cut.LOST, 2), (Cut.UNANSWERED, 1)])
def test_commit_of_apply_is_cut(station: Station, cut: Cut, effective: int, kind: Kind) -> None:
    """The connection breaks as COMMIT is sent, {cut}: the next attempt finds out what happened, and completes."""
    engine = station.engine
    first = engine.rollback() if kind is Kind.RECOVER else None
    run = station.record(engine.command(kind=kind, subject_run=first and first.run))

    with _through_proxy(engine, cut) as proxy, station.worker():
        done = completed(station.ended(run))

    assert proxy.made.is_set()
    assert [event.detail["code"] for event in _postponed(engine, done)] == ["outcome_unknown"]
    assert one_effect(engine, done) == effective
    assert done.attempt == 2


def test_commit_of_apply_arrives_late(station: Station) -> None:
    """A COMMIT that arrives when the next attempt looks already is waited for, and found: no second effect."""
    engine = station.engine
    run = station.record(engine.command())

    with _through_proxy(engine, Cut.LATE) as proxy, station.worker():
        assert proxy.made.wait(20)
        wait_for("the fence to be waited for", lambda: _waits_for_fence(engine, run))
        proxy.deliver()
        done = completed(station.ended(run))

    # Where this machine is slow, the server has ended the transaction before.
    assert one_effect(engine, done) == (1 if proxy.committed else 2)
    assert done.attempt == 2


@contextmanager
def _through_proxy(engine: Engine, cut: Cut) -> Iterator[Proxy]:
    """Let workers reach the target through a proxy that cuts the COMMIT of apply."""
    with Proxy(engine.postgres.socket_dir, b"INSERT INTO emergency_backup.marker", cut) as proxy:
        engine.url = proxy.url(engine.database, "stepback_worker")
        yield proxy


def _waits_for_fence(engine: Engine, run: int) -> bool:
    waiting = f"application_name = 'stepback run {run}.2' AND wait_event_type = 'Lock'"
    return bool(engine.query(f"SELECT FROM pg_stat_activity WHERE {waiting}"))


# -- the ledger is away ---------------------------------------------------------


def test_no_ledger_at_the_start(station: Station, tmp_path: Path) -> None:
    """A worker that does not reach the ledger ends with exit code 1, one line that says so, and no password in it."""
    station = replace(station, ledger_url=f"postgresql://stepback_app:secret@/ledger?host={tmp_path}")

    done = subprocess.run(
        [sys.executable, "-m", "stepback", "worker"],
        env=station.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "ledger does not answer" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


@contextmanager
def _ledger_away(admin_url: str) -> Iterator[None]:
    """Let nobody but the superuser into the ledger as long as the block runs; whoever is in is thrown out."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} CONNECTION LIMIT 0")
        admin.execute(f"{_OTHERS} AND pid <> pg_backend_pid()")
        yield
        admin.execute(f"ALTER DATABASE {admin.info.dbname} CONNECTION LIMIT -1")


@pytest.mark.parametrize(
    "point",
    ["claimed", "impact_pinned", "apply_entered", "apply_begun", "apply_noted", "committed", "finish_step_done"],
)
def test_ledger_away_in_mid_run(station: Station, ledger_admin_url: str, tmp_path: Path, point: str) -> None:
    """The ledger is gone from {point} on: no second effect, and when it is back the run completes."""
    engine, token = station.engine, tmp_path / "frozen"
    run = station.record(engine.command())

    with station.workers(1, point, token):
        pid = frozen(token)
        with _ledger_away(ledger_admin_url):
            _resume_after(station, pid, run)
        done = completed(station.ended(run))

    assert done.attempt == 2
    assert one_effect(engine, done) in {1, 2}
    assert station.told("attempt_broke") == []


@pytest.mark.parametrize("cut", [Cut.LOST, Cut.UNANSWERED])
@pytest.mark.parametrize(
    "after",
    ["SET state = 'in_progress', attempt", "INSERT INTO ledger.applies", "finished_at = clock_timestamp()"],
    ids=["claim", "note apply", "settle"],
)
def test_commit_in_the_ledger_is_cut(
    station: Station, postgres: Postgres, ledger_database: str, cut: Cut, after: str
) -> None:
    """The connection breaks as the ledger is to keep something, {cut}: the run completes, with one effect."""
    engine = station.engine
    run = station.record(engine.command())

    with Proxy(postgres.socket_dir, after.encode(), cut) as proxy:
        station = replace(station, ledger_url=proxy.url(ledger_database, "stepback_app"))
        with station.worker():
            done = completed(station.ended(run))

    assert proxy.made.is_set()
    assert one_effect(engine, done) in {1, 2}
    assert station.told("attempt_broke") == []
