"""Composite plans: many migrations in one run, one transaction, one summary; and one member back alone."""

from __future__ import annotations

import pytest

from ledger.model import State
from stepback.show import summary
from tests.harness import Engine, completed, labels
from tests.integration.worker.test_document_plans import MIGRATIONS

_COMPOSITE = "complete_ai_schema"


def test_complete_schema_goes_and_comes_back(sample_engine: Engine) -> None:
    """The document's complete rollback is one run of eight sections; it comes back whole, twice."""
    before = sample_engine.picture()

    for _ in range(2):
        run = completed(sample_engine.rollback(_COMPOSITE))
        rolled = [sample_engine.registry(name)[-1] for name in (*MIGRATIONS, _COMPOSITE)]
        completed(sample_engine.recover(run))

        assert rolled == ["completed"] * 6
        assert [sample_engine.registry(name)[-1] for name in (*MIGRATIONS, _COMPOSITE)] == ["recovered"] * 6
        assert sample_engine.picture() == before


def test_summary_is_the_documents(sample_engine: Engine) -> None:
    """The summary names the document's steps with status, time and details, and counts what is left by exact names."""
    run = completed(sample_engine.rollback(_COMPOSITE))

    lines = summary.of_run(run)

    assert [line.step for line in lines] == [
        "ROLLBACK_START",
        "BACKUP",
        "CONSTRAINTS_REMOVAL",
        "TABLES_REMOVAL",
        "COLUMN_REMOVAL",
        "ENUMS_REMOVAL",
        "MIGRATION_TRACKING_UPDATE",
        "VERIFICATION",
        "OPTIMIZATION",
        "ROLLBACK_COMPLETE",
    ]
    assert {line.status for line in lines[1:]} == {"SUCCESS"}
    told = {line.step: "; ".join(line.details) for line in lines}
    assert "count what is left: 0 of 5 tables, 0 of 5 types, 0 of 4 columns" in told["VERIFICATION"]
    assert "6 row(s) completed" in told["MIGRATION_TRACKING_UPDATE"]
    assert "REINDEX TABLE CONCURRENTLY" in told["OPTIMIZATION"]
    assert all(f"move table public.{name}" in told["TABLES_REMOVAL"] for name in ("health_alerts", "health_metrics"))
    assert all(line.time is not None for line in lines)
    times = [step.ended_at for step in run.steps if step.phase == "apply"]
    assert times == sorted(time for time in times if time is not None)


def test_one_member_comes_back_alone(sample_engine: Engine) -> None:
    """One member is recovered by itself and only its row says so; then the rest, and with it the composite's."""
    before = sample_engine.picture()
    run = completed(sample_engine.rollback(_COMPOSITE))

    completed(sample_engine.recover(run, migration="add_health_metrics_table"))
    alone = {name: sample_engine.registry(name)[-1] for name in (*MIGRATIONS, _COMPOSITE)}
    rows = sample_engine.query("SELECT count(*) AS n FROM health_metrics")
    completed(sample_engine.recover(run))

    assert rows == [{"n": len(before.rows["public.health_metrics"])}]
    assert [name for name, status in alone.items() if status == "recovered"] == ["add_health_metrics_table"]
    assert [sample_engine.registry(name)[-1] for name in (*MIGRATIONS, _COMPOSITE)] == ["recovered"] * 6
    assert sample_engine.picture() == before


def test_last_member_alone_says_so_for_the_composite(sample_engine: Engine) -> None:
    """When every member has come back by itself, the composite plan is recovered too, and there is nothing left."""
    run = completed(sample_engine.rollback(_COMPOSITE))

    for member in MIGRATIONS:
        before_last = sample_engine.registry(_COMPOSITE)
        completed(sample_engine.recover(run, migration=member))
    again = sample_engine.recover(run)

    assert before_last == ["completed"]
    assert sample_engine.registry(_COMPOSITE) == ["recovered"]
    assert again.error is not None
    assert again.error.code == "nothing_to_recover"


def test_migration_that_is_no_member_is_refused(sample_engine: Engine) -> None:
    """What the run did not roll back cannot be recovered from it; the refusal lists what it did."""
    run = completed(sample_engine.rollback("add_health_alerts"))

    refused = sample_engine.recover(run, migration="add_health_metrics_table")

    assert refused.error is not None
    assert refused.error.code == "nothing_to_recover"
    assert "it rolled back add_health_alerts" in refused.error.message


def test_member_that_is_gone_already_is_left_alone(sample_engine: Engine) -> None:
    """A member that was rolled back before has nothing to undo: its row goes on being about its own run."""
    before = sample_engine.picture()
    first = completed(sample_engine.rollback("add_health_alerts"))

    run = completed(sample_engine.rollback(_COMPOSITE))
    completed(sample_engine.recover(run))
    between = sample_engine.registry("add_health_alerts")
    completed(sample_engine.recover(first))

    assert between == ["completed"]
    assert sample_engine.picture() == before


def test_failing_gate_of_one_member_takes_all_back(engine: Engine) -> None:
    """Members commit together or not at all, and the message names the member whose gate it was."""
    engine.owner("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    engine.plan("DROP TABLE a;", migration="one", verify="SELECT true;")
    engine.plan("DROP TABLE b;", migration="two", verify="SELECT false;")
    engine.plan(None, members=["one", "two"], migration="both")
    before = engine.picture()

    run = engine.rollback("both")

    assert run.state is State.FAILED
    assert run.error is not None
    assert run.error.code == "gate_failed"
    assert "two/verify.sql line 1" in run.error.message
    assert [engine.registry(name) for name in ("one", "two", "both")] == [["failed"]] * 3
    assert engine.picture() == before


def test_members_may_hold_on_to_each_other(engine: Engine) -> None:
    """A table of one member is of a type of the next; alone it is told to wait for that, then all comes back."""
    engine.owner("CREATE TYPE e AS ENUM ('x'); CREATE TABLE t (id int PRIMARY KEY, e e); INSERT INTO t VALUES (1, 'x')")
    engine.plan("DROP TABLE t;", migration="one")
    engine.plan("DROP TYPE e;", migration="two")
    engine.plan(None, members=["one", "two"], migration="both")
    before = engine.picture()

    run = completed(engine.rollback("both"))
    alone = engine.recover(run, migration="one")
    completed(engine.recover(run, migration="two"))
    completed(engine.recover(run, migration="one"))

    assert alone.error is not None
    assert alone.error.code == "recover_first"
    assert f"(run {run.run})" in alone.error.message
    assert engine.picture() == before


def test_members_run_their_own_statements(engine: Engine) -> None:
    """A member's statements are run as they are written, between those of the others; all of it comes back."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 2), (2, 'y', 3)")
    engine.plan("ALTER TABLE t DROP a;", migration="one")
    engine.plan("UPDATE t SET b = b + 1; ALTER TABLE t RENAME b TO c;", migration="two")
    engine.plan("DROP TABLE t;", migration="three")
    engine.plan(None, members=["one", "two", "three"], migration="all")
    before = engine.picture()

    run = completed(engine.rollback("all"))
    completed(engine.recover(run))

    assert engine.picture() == before


def test_enums_are_recorded_with_what_used_them(sample_engine: Engine) -> None:
    """The types go with the columns that are of them, as the plan accepts; enum_usage tells which; all comes back."""
    before = sample_engine.picture()

    run = completed(sample_engine.rollback("remove_ai_enums"))
    usage = sample_engine.query("SELECT * FROM emergency_backup.enum_usage ORDER BY table_name, column_name")
    completed(sample_engine.recover(run))

    assert [(row["table_name"], row["column_name"], row["enum_type"]) for row in usage] == [
        ("public.forecast_results", "forecast_type", "public.forecast_type_enum"),
        ("public.health_alerts", "alert_type", "public.alert_type_enum"),
        ("public.health_alerts", "severity", "public.alert_severity_enum"),
        ("public.health_metrics", "trajectory", "public.health_trajectory"),
        ("public.quickbooks_connections", "sync_status", "public.sync_status_enum"),
        ("public.quickbooks_sync_logs", "status", "public.sync_status_enum"),
    ]
    assert sample_engine.query("SELECT * FROM emergency_backup.enum_usage") == []
    assert sample_engine.picture() == before


def test_indexes_are_recorded_by_exact_names(sample_engine: Engine) -> None:
    """Nine indexes go, no primary key does; dropped_indexes has their definitions; all come back."""
    before = sample_engine.picture()

    run = completed(sample_engine.rollback("remove_ai_indexes"))
    shown = sample_engine.query("SELECT * FROM emergency_backup.dropped_indexes ORDER BY indexname")
    kept = labels(sample_engine.kept(run))
    completed(sample_engine.recover(run))

    assert len(kept) == len(shown) == 9
    assert shown[0] == {
        "schemaname": "public",
        "tablename": "forecast_results",
        "indexname": "idx_forecast_results_business_type",
        "indexdef": "CREATE INDEX idx_forecast_results_business_type ON public.forecast_results"
        " USING btree (business_id, forecast_type)",
    }
    assert sample_engine.picture() == before


@pytest.mark.parametrize("online_rows", [0, 1_000_000], ids=["online", "under the lock"])
def test_members_may_drop_columns_of_one_table(engine: Engine, online_rows: int) -> None:
    """Each member's columns of the same table have a copy of their own, and one member's can come back alone."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 2), (2, 'y', 3)")
    for migration, column in (("one", "a"), ("two", "b")):
        engine.plan(f"ALTER TABLE t DROP {column};", migration=migration)
        (engine.plans / migration / "plan.toml").write_text(f"online_rows = {online_rows}\n", encoding="utf-8")
    engine.plan(None, members=["one", "two"], migration="both")
    before = engine.picture()

    run = completed(engine.rollback("both"))
    completed(engine.recover(run, migration="one"))
    alone = engine.query("SELECT id, a FROM t ORDER BY id")
    completed(engine.recover(run))

    assert alone == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    assert engine.picture() == before
    preserved = [step.step for step in run.steps if step.phase == "preserve"]
    # A table has one copy that is made before the lock; what a later member drops of it is copied under the lock.
    assert len(preserved) == (2 if online_rows == 0 else 0)
