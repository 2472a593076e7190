"""What a purge deletes, what it leaves alone, what it writes down, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ledger.model import Run
from tests.harness import Engine, Picture, completed, ended
from tests.integration.worker.cases.case import BYSTANDERS, Case
from tests.integration.worker.test_round_trip import CASES


def quarantine(engine: Engine, run: Run) -> list[str]:
    """Return the schemas in which a run keeps things."""
    found = engine.query(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r{run.run}\\_%'")
    return [row["nspname"] for row in found]


def rolled_back(engine: Engine, case: Case) -> tuple[Run, Picture]:
    """Roll a case of the round trips back; return the run and a picture of what is there then."""
    if engine.postgres.version < case.since:
        pytest.skip(f"PostgreSQL {engine.postgres.version} does not know {case.why}")
    engine.owner(BYSTANDERS + case.given)
    engine.plan(case.plan, accepts=case.accepts)
    run = completed(engine.rollback(), case.broken)
    return run, engine.picture()


def told(run: Run) -> dict[str, Any]:
    """Return the rows of everything that a purge says it deleted, by name, and see that it is gone."""
    document: Any = run.result
    assert document["bytes_after"] == 0
    assert document["bytes_before"] == sum(each["bytes"] for each in document["objects"])
    return {each["name"].replace('"', ""): each["rows"] for each in document["objects"]}


def one_of_each(cases: Iterable[Any]) -> list[Any]:
    """Return the first case of each combination of what is kept, and how: a purge sees nothing else of a rollback."""
    chosen: dict[frozenset[str], Any] = {}
    for each in cases:
        (case,) = each.values
        chosen.setdefault(frozenset(" ".join(label.split()[:2]) for label in case.keeps), each)
    return list(chosen.values())


@pytest.mark.parametrize("case", one_of_each(CASES))
def test_whatever_a_rollback_keeps_can_be_deleted(engine: Engine, case: Case) -> None:
    """After a purge nothing of the run is in quarantine, nothing else has changed, and the run cannot be recovered."""
    run, between = rolled_back(engine, case)
    held = {
        f"{row.quarantine}.{row.relation}".replace('"', ""): row.rows
        for row in engine.kept(run)
        if row.relation is not None
    }

    done = completed(engine.purge(run))
    delivered_again = engine.deliver(done.command_id)
    recovery = engine.recover(run)

    assert quarantine(engine, run) == []
    assert engine.picture() == between
    assert not delivered_again
    assert ended(recovery).startswith(f"refused: nothing_to_recover: run {run.run} was purged by run {done.run}")
    assert engine.registry() == ["completed"]
    assert {name: rows for name, rows in told(done).items() if name in held} == held


#: Where a recovery leaves something behind: copies, and what the rollback had created.
LEAVING = [
    each
    for kind in ("column", "rows", "retype", "script")
    for each in one_of_each(case for case in CASES if str(case.id).startswith(f"{kind}: "))
]


@pytest.mark.parametrize("case", LEAVING)
def test_what_a_recovery_leaves_behind_can_be_deleted(engine: Engine, case: Case) -> None:
    """Copies that stayed in quarantine, and what the recovery itself took away, go as well; what came back stays."""
    run, _between = rolled_back(engine, case)
    back = completed(engine.recover(run), case.broken)
    after = engine.picture()

    for subject in (run, back):
        purged = engine.purge(subject)
        assert ended(purged).startswith(("completed", "refused: nothing_to_purge"))
        assert quarantine(engine, subject) == []

    assert engine.picture() == after
    assert engine.registry() == ["recovered"]


# -- what it writes down ----------------------------------------------------------------

_T = "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"


def test_tombstones_survive(engine: Engine) -> None:
    """What was deleted is in the run's result, in the audit log an event each, and in the target: rows and checksum."""
    engine.owner(
        f"{_T} CREATE TYPE e AS ENUM ('x'); CREATE SEQUENCE s; SELECT nextval('s'); CREATE VIEW v AS SELECT 1 AS n"
    )
    engine.plan("DROP TABLE t; DROP TYPE e; DROP SEQUENCE s; DROP VIEW v;")
    run = completed(engine.rollback())
    (kept,) = engine.query("SELECT checksum FROM emergency_backup.preserved_objects WHERE kind = 'table'")

    done = completed(engine.purge(run, reason="room"))

    document: Any = done.result
    stones = {each["was"]: each for each in document["objects"]}
    assert set(stones) == {"table public.t", "type public.e", "sequence public.s"}
    assert (stones["table public.t"]["rows"], stones["table public.t"]["checksum"]) == (2, kept["checksum"])
    assert (stones["sequence public.s"]["rows"], stones["sequence public.s"]["checksum"] is None) == (1, False)
    assert document["purged_run"] == run.run
    assert document["given_up"] == [{"kind": "view", "name": "public.v", "how": "defined"}]
    events = [event.detail for event in engine.events(done) if event.type == "object_purged"]
    assert events == [{"purged_run": run.run, **each} for each in document["objects"]]
    rows = engine.query("SELECT was, rows, subject_run FROM emergency_backup.purged_objects ORDER BY ordinal")
    assert [row["was"] for row in rows] == [each["was"] for each in document["objects"]]
    listed = engine.query(
        "SELECT DISTINCT purged_by, purged_at IS NOT NULL AS told FROM emergency_backup.preserved_objects"
    )
    assert listed == [{"purged_by": done.run, "told": True}]


def test_what_was_not_counted_is_counted_before_it_goes(engine: Engine) -> None:
    """A table whose rows nobody counted after the rollback has them in its tombstone all the same."""
    engine.owner(_T)
    engine.plan("DROP TABLE t;")
    run = completed(engine.rollback())
    (kept,) = engine.query("SELECT rows, checksum FROM emergency_backup.preserved_objects")
    engine.admin("UPDATE emergency_backup.preserved_objects SET rows = NULL, checksum = NULL")

    document: Any = completed(engine.purge(run)).result

    (stone,) = document["objects"]
    assert (stone["rows"], stone["checksum"]) == (kept["rows"], kept["checksum"])


def test_rows_that_policies_hide_are_counted_too(engine: Engine) -> None:
    """Policies that bind the owner do not keep rows from being counted before they are deleted."""
    engine.owner(f"{_T} ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY")
    engine.plan("DROP TABLE t;")
    run = completed(engine.rollback())
    engine.admin("UPDATE emergency_backup.preserved_objects SET rows = NULL, checksum = NULL")

    document: Any = completed(engine.purge(run)).result

    assert [each["rows"] for each in document["objects"]] == [2]


# -- what is about it -------------------------------------------------------------------


def shown(engine: Engine) -> list[dict[str, Any]]:
    """Return what the view on the newest kept `t` shows; nothing if there is none."""
    if not engine.query("SELECT FROM pg_views WHERE schemaname = 'emergency_backup' AND viewname = 't_backup'"):
        return []
    return engine.query("SELECT id FROM emergency_backup.t_backup ORDER BY id")


def test_view_shows_the_next_newest(engine: Engine) -> None:
    """The view on a purged table is made anew on the newest that is still kept, and goes with the last."""
    engine.plan("DROP TABLE t;")
    runs = []
    for number in (1, 2, 3):
        engine.owner(f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES ({number})")
        runs.append(completed(engine.rollback()))

    seen = []
    for run in (runs[0], runs[2], runs[1]):
        completed(engine.purge(run))
        seen.append(shown(engine))

    assert seen == [[{"id": 3}], [{"id": 2}], []]


def test_lists_of_what_is_kept_forget_it(engine: Engine) -> None:
    """Purged enums and indexes are no longer listed under the names that operators look for."""
    engine.owner(f"CREATE TYPE e AS ENUM ('x'); {_T} ALTER TABLE t ADD COLUMN e e; CREATE INDEX i ON t (a);")
    engine.plan("DROP INDEX i; ALTER TABLE t DROP COLUMN e; DROP TYPE e;")
    run = completed(engine.rollback())
    lists = (
        "SELECT (SELECT count(*) FROM emergency_backup.enum_usage)"
        " + (SELECT count(*) FROM emergency_backup.dropped_indexes) AS n"
    )
    before = engine.query(lists)

    completed(engine.purge(run))

    assert before == [{"n": 2}]
    assert engine.query(lists) == [{"n": 0}]


def test_after_a_purge_the_migration_goes_on(engine: Engine) -> None:
    """Applied again, it can be rolled back and recovered again; the purged run stays purged."""
    engine.owner(_T)
    engine.plan("DROP TABLE t;")
    completed(engine.purge(completed(engine.rollback())))
    engine.owner(_T)
    before = engine.picture()

    completed(engine.recover(completed(engine.rollback())))

    assert engine.picture() == before


def test_others_rows_are_left_alone(engine: Engine) -> None:
    """Another run's quarantine holds exactly what it held, and comes back."""
    engine.owner(f"{_T} CREATE TABLE u AS SELECT * FROM t")
    engine.plan("DROP TABLE t;", migration="one")
    engine.plan("DROP TABLE u;", migration="two")
    one, two = completed(engine.rollback("one")), completed(engine.rollback("two"))

    completed(engine.purge(one))
    completed(engine.recover(two))

    assert engine.query("SELECT count(*) AS rows FROM u") == [{"rows": 2}]
