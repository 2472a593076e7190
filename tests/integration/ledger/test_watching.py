"""What a monitor sees in the ledger: also of runs from before it could be watched, and right however they move."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command as alembic
from alembic.config import Config

from ledger import runs, schema, workers
from ledger.commands import Entry, record
from ledger.database import open_ledger, transaction
from ledger.model import TERMINAL, Kind, Phase, State, StepRecord
from ledger.schema import upgrade
from ledger.watching import figures, look
from tests.databases import fresh_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Engine

    from ledger.runs import Claim
    from stepback.embedded import Postgres
    from tests.integration.ledger.conftest import End, MakeCommand, Queue, Take

STEP = StepRecord(Phase.APPLY, "move table public.prices", "completed", 0.25)

#: Every kind that there was before, each with a migration and what the rules of its time ask for.
_OLD = """
INSERT INTO ledger.commands (command_id, kind, target, migration, requested_by, reason, not_after, envelope)
    SELECT gen_random_uuid(), kind, 'shop', 'm', 'operator', 'old', now() + interval '1 h', gen_random_uuid()::text
      FROM unnest(ARRAY['rollback', 'validate']) AS kind, generate_series(1, 8 * 2);
INSERT INTO ledger.runs (command_id, state, attempt, started_at, lease_until, finished_at)
    SELECT command_id, state, CASE WHEN ended OR state = 'in_progress' THEN 1 ELSE 0 END,
           CASE WHEN state = 'in_progress' THEN now() END, CASE WHEN state = 'in_progress' THEN now() END,
           CASE WHEN ended THEN now() END
      FROM (SELECT command_id, (%s::text[])[1 + (row_number() OVER (ORDER BY kind) - 1) %% 8] AS state
              FROM ledger.commands) AS c, LATERAL (SELECT state = ANY (%s)) AS e (ended)
"""


def _tally(engine: Engine) -> dict[tuple[str, str], int]:
    with transaction(engine) as conn:
        return {place: count for place, count in figures(conn).runs.items() if count}


def _counted(superuser: psycopg.Connection) -> dict[tuple[str, str], int]:
    rows = superuser.execute("SELECT kind, state FROM ledger.runs JOIN ledger.commands USING (command_id)")
    return dict(Counter(rows.fetchall()))


# -- an older ledger ------------------------------------------------------------


def _upgrade_to(url: str, revision: str) -> None:
    engine = open_ledger(url)
    with transaction(engine) as conn:
        schema._prepare(conn)
        config = Config()
        config.set_main_option("script_location", "ledger:migrations")
        config.attributes["connection"] = conn
        alembic.upgrade(config, revision)
    engine.dispose()


@pytest.fixture
def old(postgres: Postgres) -> Iterator[str]:
    """Give the name of a ledger from before it could be watched, with four runs in every state."""
    with fresh_database(postgres, "old", owner="stepback_owner") as name:
        url = postgres.superuser_url(name)
        _upgrade_to(url, "0008")
        with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as conn:
            conn.execute(_OLD, [[*State], [*TERMINAL]])
        yield name


def test_an_older_ledger_is_counted_as_it_stands(postgres: Postgres, old: str) -> None:
    """Runs in every state are in the tally, and those that are open are seen, since when they began."""
    upgrade(postgres.superuser_url(old))

    engine = open_ledger(postgres.url(old, "stepback_app"))
    with transaction(engine) as conn:
        sight, seen = look(conn), figures(conn)
    engine.dispose()
    assert seen.runs == {(kind, state.value): 2 for kind in ("rollback", "validate") for state in State}
    assert Counter(run.state for run in sight.runs) == dict.fromkeys(
        (State.QUEUED, State.IN_PROGRESS, State.AWAITING_APPROVAL), 4
    )
    assert {run.progressed_at is None for run in sight.runs if run.state is State.IN_PROGRESS} == {False}
    assert sight.incidents == ()


def test_runs_of_an_older_ledger_go_on(postgres: Postgres, old: str) -> None:
    """They are claimed, counted and settled as new ones are; and nothing leaves an end, as before."""
    upgrade(postgres.superuser_url(old))

    engine = open_ledger(postgres.url(old, "stepback_app"))
    before = _tally(engine)
    (command_id, *_) = runs.unfinished(engine, quiet_seconds=0)
    claim = runs.claim(engine, command_id, worker="w1", lease_seconds=60)
    assert claim is not None
    runs.settle(engine, claim, state=State.COMPLETED, error=None, blocked_seconds=None, preserved=[])
    after = Counter(_tally(engine))
    after.subtract(before)
    engine.dispose()
    assert sorted(count for count in after.values() if count) == [-1, 1]
    assert after["rollback", "completed"] + after["validate", "completed"] == 1
    with (
        psycopg.connect(postgres.superuser_url(old)) as conn,
        pytest.raises(psycopg.errors.CheckViolation, match="nothing leaves that state"),
    ):
        conn.execute("UPDATE ledger.runs SET state = 'in_progress' WHERE state = 'failed'")


# -- the tally ------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_every_end_is_counted(ledger_engine: Engine, end: End, take: Take, queue: Queue, state: State) -> None:
    """A run is counted where it stands, and nowhere else any more."""
    end(state)
    end(state, kind=Kind.VALIDATE)
    take()
    queue()

    assert _tally(ledger_engine) == {
        ("rollback", state.value): 1,
        ("validate", state.value): 1,
        ("rollback", "in_progress"): 1,
        ("rollback", "queued"): 1,
    }


def test_what_is_taken_back_is_not_counted(ledger_engine: Engine, make_command: MakeCommand) -> None:
    """A command that was not recorded after all leaves no trace in the tally."""
    with ledger_engine.connect() as conn:
        record(conn, [Entry(make_command(), "-")])
        conn.rollback()

    assert _tally(ledger_engine) == {}


def test_runs_that_change_places_at_once_do_not_wait_for_each_other(
    ledger_admin_url: str, ledger_engine: Engine, queue: Queue, superuser: psycopg.Connection
) -> None:
    """Six go round in a circle, each leaving the place that the next one takes: no deadlock, and nobody is lost."""
    circle = (
        "state = 'in_progress', attempt = attempt + 1, started_at = now(), lease_until = now()",
        "state = 'awaiting_approval'",
        "state = 'queued'",
    )

    def go_round(command_id: object) -> None:
        with psycopg.connect(ledger_admin_url, autocommit=True) as conn:
            for _ in range(50):
                for place in circle:
                    conn.execute(f"UPDATE ledger.runs SET {place} WHERE command_id = %s", [command_id])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(go_round, [queue().command_id for _ in range(6)]))

    assert _tally(ledger_engine) == _counted(superuser) == {("rollback", "queued"): 6}


# -- getting on -----------------------------------------------------------------

_GETS_ON: dict[str, Callable[[Engine, Claim], object]] = {
    "a phase": lambda engine, claim: runs.enter(engine, claim, Phase.APPLY),
    "what preflight found": lambda engine, claim: runs.pin(engine, claim, plan_sha256=None, impact_sha256=None),
    "a step": lambda engine, claim: runs.record_step(engine, claim, STEP, {}),
    "a wait for locks": lambda engine, claim: runs.record_event(engine, claim, "lock_waited", "waited"),
    "an apply": lambda engine, claim: runs.note_apply(engine, claim, system_identifier="1", database_oid=2, xid="3"),
    "a chunk": lambda engine, claim: runs.renew(engine, claim, 60, progressed=True),
}

_DOES_NOT: dict[str, Callable[[Engine, Claim], object]] = {
    "a heartbeat": lambda engine, claim: runs.renew(engine, claim, 60),
    "giving it up": lambda engine, claim: runs.release(engine, claim, after_seconds=1),
}


def _progress(engine: Engine) -> datetime:
    with transaction(engine) as conn:
        (run,) = look(conn).runs
    assert run.progressed_at is not None
    return run.progressed_at


@pytest.mark.parametrize("act", _GETS_ON.values(), ids=_GETS_ON)
def test_what_is_getting_on(ledger_engine: Engine, take: Take, act: Callable[[Engine, Claim], object]) -> None:
    """Whatever an attempt writes down, or does in between, is."""
    claim = take()
    before = _progress(ledger_engine)

    act(ledger_engine, claim)

    assert _progress(ledger_engine) > before


@pytest.mark.parametrize("act", _DOES_NOT.values(), ids=_DOES_NOT)
def test_what_is_not_getting_on(ledger_engine: Engine, take: Take, act: Callable[[Engine, Claim], object]) -> None:
    """To be alive is not enough."""
    claim = take()
    before = _progress(ledger_engine)

    act(ledger_engine, claim)

    assert _progress(ledger_engine) == before


def test_to_be_taken_over_is_getting_on(ledger_engine: Engine, take: Take) -> None:
    """The new attempt has its own time."""
    first = take(lease_seconds=0)
    before = _progress(ledger_engine)

    take(first.command)

    assert _progress(ledger_engine) > before


# -- figures --------------------------------------------------------------------


def test_the_last_canary_that_got_through_is_seen(ledger_engine: Engine, end: End) -> None:
    """Not one that failed since; before the first there is none."""
    with transaction(ledger_engine) as conn:
        assert figures(conn).canary_at is None
    good = end(State.COMPLETED, kind=Kind.CANARY, target="canary", migration=None)
    end(State.REFUSED, kind=Kind.CANARY, target="canary", migration=None)

    with transaction(ledger_engine) as conn:
        assert figures(conn).canary_at == runs.find(conn, good).finished_at


def test_canaries_leave_people_their_numbers(ledger_engine: Engine, end: End) -> None:
    """They count backwards, and lists of runs leave them out."""
    numbers = [
        end(State.COMPLETED),
        end(State.COMPLETED, kind=Kind.CANARY, target="canary", migration=None),
        end(State.COMPLETED, kind=Kind.CANARY, target="canary", migration=None),
        end(State.COMPLETED),
    ]

    assert numbers == [1, -1, -2, 2]
    with transaction(ledger_engine) as conn:
        assert [run.run for run in runs.list_runs(conn)] == [2, 1]


def test_the_newest_audit_event_and_living_workers_are_seen(ledger_engine: Engine, end: End) -> None:
    """As they are in the ledger."""
    end(State.COMPLETED)
    workers.beat(ledger_engine, "w1", 60)
    workers.beat(ledger_engine, "w2", 0)

    with transaction(ledger_engine) as conn:
        seen = figures(conn)
    assert (seen.audit_events, seen.workers_alive) == (3, 1)


# -- what is over ---------------------------------------------------------------

#: As the owner: runs that all ended just now, each with an incident that was resolved just now, the first one first.
_MANY = """
WITH asked AS (
    INSERT INTO ledger.commands (command_id, kind, target, migration, requested_by, reason, not_after, envelope)
    SELECT gen_random_uuid(), 'rollback', 'shop', 'm', 'operator', 'old', now(), n::text
      FROM generate_series(1, 800) AS n
    RETURNING command_id
), ended AS (
    INSERT INTO ledger.runs (command_id, state, attempt, lease_until, started_at, finished_at)
    SELECT command_id, 'failed', 1, now(), now(), now() FROM asked RETURNING run
)
INSERT INTO ledger.incidents (run, incident, resolved_at, resolved_by)
SELECT run, 'failed', clock_timestamp() + run * interval '1 microsecond', 'a test' FROM ended
"""


def test_a_flood_of_ends_is_told_of_the_newest(ledger_engine: Engine, ledger_admin_url: str) -> None:
    """However many ended within the last minutes, a look takes no longer than for the newest 500 of each."""
    with psycopg.connect(ledger_admin_url) as owner:
        owner.execute(_MANY)

    with transaction(ledger_engine) as conn:
        over = look(conn).over

    assert sorted(each.run for each in over if each.incident is None) == [*range(301, 801)]
    assert sorted(each.run for each in over if each.incident is not None) == [*range(301, 801)]
