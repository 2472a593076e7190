"""What is not purged, and why: needed by a recovery, by another run, by something outside; or not there to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier

import pytest

from ledger import subjects
from ledger.errors import LockNotAvailable, NothingToPurge, NothingToRecover
from ledger.model import Command, Kind, Run, State
from tests import signing
from tests.harness import Engine, completed, ended
from worker.commands.purge import Purge
from worker.commands.recover import Recover
from worker.crash_points import pass_by
from worker.fence import Holder

_T = "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"


def rolled_back(engine: Engine, given: str = _T, plan: str = "DROP TABLE t;", migration: str = "m") -> Run:
    """Roll something back."""
    engine.owner(given)
    engine.plan(plan, migration=migration)
    return completed(engine.rollback(migration))


def inside(engine: Engine, run: Run, relation: str = "t") -> str:
    """Return where a run keeps a table."""
    (row,) = [row for row in engine.kept(run) if row.relation == relation]
    assert row.inside is not None
    return row.inside


def record(engine: Engine, command: Command) -> int:
    """Write a command down, without carrying it out."""
    return signing.record_signed(engine.ledger, command)


# -- nothing to purge ---------------------------------------------------------------


def test_purged_already(engine: Engine) -> None:
    """A second purge is refused and names the first."""
    run = rolled_back(engine)
    first = completed(engine.purge(run))

    again = engine.purge(run)

    assert ended(again) == f"refused: nothing_to_purge: run {run.run} was purged already, by run {first.run}"


def test_recovered_and_nothing_left(engine: Engine) -> None:
    """A run that came back whole left nothing behind."""
    run = rolled_back(engine)
    back = completed(engine.recover(run))

    refused = engine.purge(run)

    assert ended(refused).startswith("refused: nothing_to_purge: ")
    assert f"recovered by run {back.run}, and nothing of it stayed behind" in ended(refused)


def test_never_completed(engine: Engine) -> None:
    """A run that was refused keeps nothing."""
    engine.owner(_T)
    engine.plan("DROP TABLE nothing;")
    run = engine.rollback()

    refused = engine.purge(run)

    assert ended(refused).startswith(f"refused: nothing_to_purge: run {run.run} never completed")


def test_purge_of_a_purge(engine: Engine) -> None:
    """A purge keeps nothing."""
    first = completed(engine.purge(rolled_back(engine)))

    refused = engine.purge(first)

    assert ended(refused) == f"refused: nothing_to_purge: run {first.run} is a purge, which keeps nothing"


def test_run_under_way(engine: Engine) -> None:
    """What is not over is not purged."""
    engine.owner(_T)
    engine.plan("DROP TABLE t;")
    waiting = record(engine, engine.command())

    refused = engine.purge(waiting)

    assert ended(refused).startswith(f"refused: still_needed: run {waiting} is queued")


# -- needed ---------------------------------------------------------------------------


def test_recovery_that_waits(engine: Engine) -> None:
    """While a recovery of the run is queued nothing is deleted; afterwards the recovery finds everything."""
    run = rolled_back(engine)
    command = engine.command(kind=Kind.RECOVER, subject_run=run.run)
    waiting = record(engine, command)

    refused = engine.purge(run)
    engine.deliver(command.command_id)

    assert f"refused: still_needed: run {run.run} is to be recovered by run {waiting}" in ended(refused)
    assert engine.find(waiting).state is State.COMPLETED
    assert engine.query("SELECT count(*) AS rows FROM t") == [{"rows": 2}]


@pytest.mark.parametrize("first", ["DROP TABLE t;", "ALTER TABLE t DROP COLUMN e;"])
def test_type_of_what_another_run_keeps(engine: Engine, first: str) -> None:
    """A type that tables in another run's quarantine are of stays until these are gone."""
    given = "CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, e e); INSERT INTO t VALUES (1, 'a')"
    one = rolled_back(engine, given, first, "first")
    two = rolled_back(engine, "", "DROP TYPE e;", "second")

    refused = engine.purge(two)
    in_order = [engine.purge(one).state, engine.purge(two).state]

    assert ended(refused).startswith("refused: still_needed: ")
    assert f"recover or purge run {one.run} first" in ended(refused)
    assert in_order == [State.COMPLETED, State.COMPLETED]


def test_table_that_another_run_s_text_needs(engine: Engine) -> None:
    """A column, or a foreign key, that an earlier run keeps could not come back without its table."""
    one = rolled_back(engine, _T, "ALTER TABLE t DROP COLUMN a;", "first")
    two = rolled_back(engine, "", "DROP TABLE t;", "second")

    refused = engine.purge(two)
    completed(engine.purge(one))
    completed(engine.purge(two))

    assert ended(refused).startswith("refused: still_needed: ")
    assert "table column public.t.a needs table public.t" in ended(refused)
    assert f"recover or purge run {one.run} first" in ended(refused)


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        ("CREATE VIEW v AS SELECT a FROM t", "DROP VIEW v;", "DROP TABLE t;"),
        (
            "CREATE TYPE e AS ENUM ('x'); CREATE FUNCTION f(e) RETURNS e RETURN $1",
            "DROP FUNCTION f(e);",
            "DROP TYPE e;",
        ),
    ],
    ids=["view", "function"],
)
def test_what_another_run_s_text_speaks_of(engine: Engine, given: str, first: str, second: str) -> None:
    """A text that was written down while it was there needs it to be carried out; a later one means another."""
    one = rolled_back(engine, f"{_T}; {given}", first, "first")
    two = rolled_back(engine, "", second, "second")
    later = rolled_back(
        engine, "CREATE TABLE again (t int, e int); CREATE VIEW w AS SELECT t, e FROM again", "DROP VIEW w;"
    )

    refused = engine.purge(two)
    in_order = [ended(engine.purge(run)) for run in (one, two, later)]

    assert ended(refused).startswith("refused: still_needed: ")
    assert f"recover or purge run {one.run} first" in ended(refused)
    assert in_order == ["completed"] * 3


def test_same_name_in_an_older_run(engine: Engine) -> None:
    """An older run that took a table of the same name speaks of its own: the newer one may go first."""
    given = "CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t"
    plan = "DROP VIEW v; DROP TABLE t;"
    one, two = rolled_back(engine, given, plan), rolled_back(engine, given, plan)

    completed(engine.purge(two))
    completed(engine.recover(one))


def test_something_outside(engine: Engine) -> None:
    """A view that somebody made on a kept table is named; nothing is deleted while it is there."""
    run = rolled_back(engine)
    engine.admin(f"CREATE VIEW public.report AS SELECT id FROM {inside(engine, run)}")

    refused = engine.purge(run)
    engine.admin("DROP VIEW public.report")
    completed(engine.purge(run))

    assert ended(refused).startswith("refused: still_needed: ")
    assert "report" in ended(refused)
    assert "drop that first" in ended(refused)


def test_somebody_s_own_view_beside_ours(engine: Engine) -> None:
    """A view in emergency_backup that is not Stepback's own is somebody's, and stays."""
    run = rolled_back(engine)
    engine.admin(f"CREATE VIEW emergency_backup.mine AS SELECT id FROM {inside(engine, run)}")

    refused = engine.purge(run)

    assert ended(refused).startswith("refused: still_needed: ")
    assert "mine" in ended(refused)


def test_somebody_s_own_table_inside(engine: Engine) -> None:
    """What the run did not put into its quarantine is not deleted with it."""
    run = rolled_back(engine)
    schema = inside(engine, run).split(".")[0]
    engine.admin(f"CREATE TABLE {schema}.notes AS SELECT 1 AS n")

    refused = engine.purge(run)

    assert ended(refused).startswith("refused: still_needed: ")
    assert ".notes; take it elsewhere first" in ended(refused)


def test_what_the_server_would_take_along(engine: Engine) -> None:
    """Statistics elsewhere that somebody made of a kept table would go with it, unsaid: that is refused."""
    run = rolled_back(engine)
    engine.admin(f"CREATE STATISTICS public.s ON id, a FROM {inside(engine, run)}")

    refused = engine.purge(run)

    assert ended(refused).startswith("refused: still_needed: ")
    assert "statistics object public.s needs what it belongs to" in ended(refused)


# -- two at once ----------------------------------------------------------------------

#: What a run may keep: rows, or a text alone, for which no table is locked.
KEPT = pytest.mark.parametrize("plan", ["DROP TABLE t;", "DROP VIEW v;"], ids=["rows", "text alone"])
_WITH_VIEW = f"{_T} CREATE VIEW v AS SELECT 1 AS one;"


def look_of(engine: Engine, kind: Kind, run: Run) -> Purge | Recover:
    """Let a command look at what a run keeps, as it does in preflight and again right before it takes the rows."""
    command = engine.command(kind=kind, subject_run=run.run)
    holder = Holder(engine.installation, 10_000, 1)
    looked = Purge(command, holder, partial(subjects.look, engine.ledger))
    procedure = looked if kind is Kind.PURGE else Recover(command, holder)
    procedure.prepare(engine.session)
    return procedure


@KEPT
@pytest.mark.parametrize("first", [Kind.PURGE, Kind.RECOVER])
def test_what_was_looked_at_is_taken_by_another(engine: Engine, plan: str, first: Kind) -> None:
    """Between its look and its taking the rows the other command commits: it takes none, and has to look again."""
    run = rolled_back(engine, _WITH_VIEW, plan)
    late = look_of(engine, Kind.RECOVER if first is Kind.PURGE else Kind.PURGE, run)
    work = late.prepare(engine.session)
    completed(engine.purge(run) if first is Kind.PURGE else engine.recover(run))

    with pytest.raises(LockNotAvailable, match="recovered or purged meanwhile"), engine.session.transaction():
        late.record(engine.session, work)

    with pytest.raises((NothingToPurge, NothingToRecover)):
        late.prepare(engine.session)


@KEPT
@pytest.mark.parametrize("first", [Kind.PURGE, Kind.RECOVER])
def test_asked_for_while_the_other_ends(engine: Engine, plan: str, first: Kind) -> None:
    """The other command has committed and is not settled yet: this one is refused, and says why."""
    run = rolled_back(engine, _WITH_VIEW, plan)
    second = Kind.RECOVER if first is Kind.PURGE else Kind.PURGE
    late: list[Run] = []

    def at(point: str) -> None:
        if point == "committed":
            late.append(replace(engine, at=pass_by).carry_out(engine.command(kind=second, subject_run=run.run)))

    done = replace(engine, at=at).carry_out(engine.command(kind=first, subject_run=run.run))

    completed(done)
    told = {Kind.PURGE: "nothing_to_recover", Kind.RECOVER: "still_needed"}[first]
    assert ended(late[0]).startswith(f"refused: {told}: run {run.run} ")


@KEPT
def test_two_workers_with_a_purge_and_a_recovery(engine: Engine, plan: str) -> None:
    """Begun at once, whatever comes first, at most one has its effect, and the other ends refused or failed."""
    run = rolled_back(engine, _WITH_VIEW, plan)
    middle = engine.picture()
    start = Barrier(2)

    def carry_out(kind: Kind) -> Run:
        command = engine.command(kind=kind, subject_run=run.run)
        start.wait(30)
        return replace(engine).carry_out(command)

    with ThreadPoolExecutor(2) as pool:
        purge, recovery = pool.map(carry_out, (Kind.PURGE, Kind.RECOVER))

    states = (purge.state, recovery.state)
    assert states.count(State.COMPLETED) == 1, (ended(purge), ended(recovery))
    assert set(states) <= {State.COMPLETED, State.REFUSED, State.FAILED}
    assert (engine.picture() == middle) == (purge.state is State.COMPLETED)
    assert engine.registry() == ["completed" if purge.state is State.COMPLETED else "recovered"]
