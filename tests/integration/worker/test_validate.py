"""Validations as runs: how they end, what they leave behind, and what rollbacks and recoveries end with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.model import AuditEvent, Kind, Run, State
from tests.harness import Engine, completed, ended, not_ok
from worker import metrics
from worker.checks import files, scope
from worker.checks.looking import Allowance, Findings, Looking

_MIGRATION = "add_health_alerts"
_DISABLE = "ALTER TABLE businesses DISABLE TRIGGER businesses_touch_updated_at"
_DISABLED = "disabled triggers of public.businesses"
_ORPHAN = "SET session_replication_role = replica; INSERT INTO business_views (business_id) VALUES (gen_random_uuid())"
_ORPHANED = {"foreign key business_views_business_id_fkey of public.business_views", "Orphaned business views"}


def _failures(engine: Engine, run: Run) -> list[AuditEvent]:
    return [event for event in engine.events(run) if event.type == "validation_failed"]


def _counted(kind: Kind) -> float:
    return float(metrics.VALIDATIONS_FAILED.labels(kind.value)._value.get())


def _names(run: Run) -> set[str]:
    assert run.validation is not None
    found = run.validation["checks"]
    assert isinstance(found, list)
    return {str(check["check"]) for check in found if isinstance(check, dict)}


def test_it_is_a_run_like_any_other(sample_engine: Engine) -> None:
    """A validation has a step for each file, in phase finish, an end in the audit log, and changes nothing there."""
    before = sample_engine.picture()

    done = completed(sample_engine.validate())

    assert (done.kind, done.migration, done.phase, done.error) == (Kind.VALIDATE, None, "finish", None)
    assert len(done.steps) == 10
    assert {(step.phase, step.outcome) for step in done.steps} == {("finish", "completed")}
    events = [event.type for event in sample_engine.events(done)]
    assert events == ["command_submitted", "run_claimed", *["step_completed"] * 10, "run_completed"]
    assert done.result == done.validation
    assert sample_engine.picture() == before
    assert sample_engine.query("SELECT FROM emergency_backup.fence") == []


def test_failed_checks_are_told(sample_engine: Engine) -> None:
    """A validation that finds something completes, says so in the audit log by name and count, and is counted."""
    sample_engine.owner(_DISABLE)
    counted = _counted(Kind.VALIDATE)

    done = sample_engine.validate()

    assert done.state is State.COMPLETED
    (event,) = _failures(sample_engine, done)
    assert (event.outcome, event.detail) == ("failed", {"failed": 1, "checks": [{"check": _DISABLED, "count": 1}]})
    assert _counted(Kind.VALIDATE) == counted + 1
    assert [step.step for step in done.steps if step.outcome == "failed"] == ["check disabled_triggers"]


def test_rollback_and_recovery_end_with_it(sample_engine: Engine) -> None:
    """Both look at what they have touched, in one last step, and neither looks at anything else."""
    first = completed(sample_engine.rollback(_MIGRATION))
    back = completed(sample_engine.recover(first))

    assert [run.steps[-1].step for run in (first, back)] == ["validate", "validate"]
    assert "foreign key health_alerts_business_id_fkey of public.health_alerts" not in _names(first)
    assert "foreign key health_alerts_business_id_fkey of public.health_alerts" in _names(back)
    assert "core table businesses: rows" in _names(first)
    assert "core table users: rows" not in _names(first) | _names(back)
    assert not [name for name in _names(first) if name.startswith(("quarantine", "sequence "))]


def test_after_commit_it_undoes_nothing(sample_engine: Engine) -> None:
    """Where a check fails after COMMIT the run is completed all the same, and says what does not hold."""
    sample_engine.admin(_ORPHAN)
    counted = _counted(Kind.ROLLBACK)

    first = sample_engine.rollback(_MIGRATION)
    back = sample_engine.recover(first)

    for run in (first, back):
        assert run.state is State.COMPLETED, ended(run)
        assert (run.steps[-1].step, run.steps[-1].outcome) == ("validate", "failed")
        assert {name: status for name, (status, _, _) in not_ok(run).items()} == dict.fromkeys(_ORPHANED, "fail")
        assert len(_failures(sample_engine, run)) == 1
    assert _counted(Kind.ROLLBACK) == counted + 1


def test_as_it_was(engine: Engine) -> None:
    """What a run only brings back as it was, switched off or not validated, is a warning after it, and no failure."""
    engine.owner(
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE t (a int, CONSTRAINT c CHECK (a > 0));"
        "ALTER TABLE t DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (a > 0) NOT VALID,"
        " ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p NOT VALID;"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER f"
    )
    engine.plan("DROP TABLE t;")

    back = completed(engine.recover(completed(engine.rollback())))
    asked = engine.validate()

    named = {"disabled triggers of public.t", "unvalidated constraint c of public.t", "foreign key k of public.t"}
    assert {name: status for name, (status, _, _) in not_ok(back).items()} == dict.fromkeys(named, "warn")
    assert {name: status for name, (status, _, _) in not_ok(asked).items()} == dict.fromkeys(named, "fail")
    assert _failures(engine, back) == []


def test_elsewhere_broken(sample_engine: Engine) -> None:
    """What is broken where the run touched nothing is no business of its checks."""
    sample_engine.admin("ALTER TABLE users DISABLE TRIGGER ALL; SELECT setval('price_alerts_id_seq', 1)")

    first = completed(sample_engine.rollback(_MIGRATION))
    completed(sample_engine.recover(first))


def test_one_migration(sample_engine: Engine) -> None:
    """Narrowed to a migration, only what its runs touched is looked at, those of a composite plan included."""
    completed(sample_engine.rollback("complete_ai_schema"))
    sample_engine.admin("ALTER TABLE users DISABLE TRIGGER ALL")

    one, whole = sample_engine.validate(_MIGRATION), sample_engine.validate("complete_ai_schema")

    assert (not_ok(one), not_ok(whole)) == ({}, {})
    assert len([name for name in _names(one) if name.startswith("quarantine of run 1")]) == 1
    assert len([name for name in _names(whole) if name.startswith("quarantine of run 1")]) == 6


def test_nothing_touched_yet(sample_engine: Engine) -> None:
    """A migration that is known and was never rolled back narrows to nothing, and the validation says so."""
    done = sample_engine.validate(_MIGRATION)

    ((name, (status, _, detail)),) = not_ok(done).items()
    assert (name, status) == (f"migration {_MIGRATION}", "warn")
    assert "no run has touched anything" in detail


@pytest.mark.parametrize(("name", "code"), [("add_helth_alerts", "unknown_migration"), ("a/b", "bad_name")])
def test_unknown_migration(sample_engine: Engine, name: str, code: str) -> None:
    """A name that nothing is known of is refused: all would seem well."""
    done = sample_engine.validate(name)

    assert (done.state, done.error and done.error.code) == (State.REFUSED, code)


def test_too_late(sample_engine: Engine) -> None:
    """A validation whose time has passed is not begun."""
    command = sample_engine.command(
        kind=Kind.VALIDATE, migration=None, not_after=datetime.now(UTC) - timedelta(seconds=1)
    )

    done = sample_engine.carry_out(command)

    assert (done.state, done.error and done.error.code) == (State.REFUSED, "expired")


def test_not_installed(sample_engine: Engine) -> None:
    """Where Stepback's side is missing, a validation is refused with what to do."""
    sample_engine.admin("DROP SCHEMA emergency_backup CASCADE")

    done = sample_engine.validate()

    assert (done.state, done.error and done.error.code) == (State.REFUSED, "not_possible")


def test_after_commit_time_is_short(sample_engine: Engine, tmp_path: Path) -> None:
    """After COMMIT what cannot be looked at in time, or is locked, is left to a validation: a warning, no failure."""
    (tmp_path / "slow.sql").write_text(
        "SELECT 'slow' AS \"check\", 'ok' AS status, 1 AS count, NULL AS detail FROM pg_sleep(30)"
    )
    (tmp_path / "then.sql").write_text("SELECT 'then' AS \"check\", 'ok' AS status, 1 AS count, NULL AS detail")
    slow, then = files.read(tmp_path)[-2:]

    looking = Looking(sample_engine.session, scope.Scope(), Allowance(60_000, 0.5))
    found = Findings(tuple(check for file in (slow, then) for check in looking.at(file)))

    assert [(check.check, check.status) for check in found.checks] == [("slow", "warn"), ("then", "warn")]
    assert all("`stepback validate`" in check.detail for check in found.checks)
    assert found.told() == "2 check(s): 0 ok, 2 warn, 0 fail"


def test_after_commit_the_checks_themselves_break(sample_engine: Engine) -> None:
    """If it cannot even be found out what to look at, the run is completed, and that is the check that fails."""

    def at(point: str) -> None:
        if point == "finish_entered":
            sample_engine.admin("ALTER TABLE emergency_backup.preserved_objects RENAME definition TO definition_")

    sample_engine.at = at

    done = sample_engine.rollback(_MIGRATION)

    assert done.state is State.COMPLETED, ended(done)
    ((name, (status, _, detail)),) = not_ok(done).items()
    assert (name, status) == ("validate", "fail")
    assert "definition does not exist" in detail


def test_only_shared_locks(sample_engine: Engine) -> None:
    """While checks are looked at, the session holds no lock that an application would wait for."""
    modes: set[str] = set()

    def at(point: str) -> None:
        del point
        modes.update(row["mode"] for row in sample_engine.query(_LOCKS))

    completed(sample_engine.rollback("complete_ai_schema"))
    sample_engine.at = at
    with sample_engine.connect("goodbuy_app") as writer, writer.transaction():
        # EXCLUSIVE conflicts with every lock but ACCESS SHARE: whatever asked for more would wait and fail.
        for table in ("businesses", "users", "evaluations", "business_views", "inquiries", "price_alerts"):
            writer.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        completed(sample_engine.validate())

    assert modes <= {"AccessShareLock"}


_LOCKS = (
    "SELECT mode FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'relation'"
    " AND application_name LIKE 'stepback run %' AND datname = current_database()"
)
