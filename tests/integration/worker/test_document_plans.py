"""The rollback plan document's five migrations on the sample: rolled back, looked at, and back again."""

from __future__ import annotations

import re

import pytest

from tests.harness import Engine, completed, ended, in_order, labels

MIGRATIONS = [
    "add_health_metrics_table",
    "add_forecast_results_table",
    "add_quickbooks_connections",
    "add_health_alerts",
    "add_business_ai_columns",
]


@pytest.mark.parametrize("order", [1, -1], ids=["first come, first back", "last come, first back"])
def test_all_five_go_and_come_back(sample_engine: Engine, order: int) -> None:
    """All five are rolled back and recovered, in either order, twice; the old system notices nothing."""
    before = sample_engine.picture()

    for _ in range(2):
        runs = [completed(sample_engine.rollback(migration)) for migration in MIGRATIONS]
        between = sample_engine.picture()
        for run in runs[::order]:
            completed(sample_engine.recover(run))

        gone = {"health_metrics", "forecast_results", "quickbooks_connections", "quickbooks_sync_logs", "health_alerts"}
        assert set(before.rows) - set(between.rows) == {f"public.{name}" for name in gone}
        assert not [line for line in between.lost(before) if "public.businesses" not in line]
        untouched = set(between.rows) - {"public.businesses"}
        assert {name: before.rows[name] for name in untouched} == {name: between.rows[name] for name in untouched}
        assert sample_engine.picture() == before


def test_bare_rows_of_the_document_work_unchanged(sample_engine: Engine) -> None:
    """The document's own INSERT statements are plans; no folder is needed."""
    sample_engine.plans = sample_engine.plans / "nowhere"
    plans = {
        "add_health_metrics_table": "DROP TABLE IF EXISTS health_metrics CASCADE;",
        "add_forecast_results_table": "DROP TABLE IF EXISTS forecast_results CASCADE;"
        " DROP TYPE IF EXISTS forecast_type_enum CASCADE;",
        "add_health_alerts": "DROP TABLE IF EXISTS health_alerts CASCADE; DROP TYPE IF EXISTS alert_type_enum CASCADE;"
        " DROP TYPE IF EXISTS alert_severity_enum CASCADE;",
        "add_business_ai_columns": "ALTER TABLE businesses DROP COLUMN IF EXISTS health_score_enabled,"
        " DROP COLUMN IF EXISTS last_health_calculation, DROP COLUMN IF EXISTS quickbooks_company_id,"
        " DROP COLUMN IF EXISTS auto_sync_enabled;",
    }
    before = sample_engine.picture()
    for migration, sql in plans.items():
        sample_engine.row(sql, migration=migration)

    runs = [completed(sample_engine.rollback(migration)) for migration in plans]
    shown = sample_engine.query("SELECT count(*) AS n FROM emergency_backup.health_metrics_backup")
    for run in runs:
        completed(sample_engine.recover(run))

    assert shown == [{"n": len(before.rows["public.health_metrics"])}]
    assert sample_engine.picture() == before


def test_every_business_keeps_all_four_columns(sample_engine: Engine) -> None:
    """Not only the rows that the document's script would copy: every row's values are kept, whatever they are."""
    columns = ("health_score_enabled", "last_health_calculation", "quickbooks_company_id", "auto_sync_enabled")
    names = ", ".join(("id", *columns))
    before = sample_engine.query(f"SELECT {names} FROM businesses ORDER BY id")

    run = completed(sample_engine.rollback("add_business_ai_columns"))

    (copy,) = {row.inside for row in sample_engine.kept(run) if row.inside is not None}
    assert sample_engine.query(f"SELECT {names} FROM {copy} ORDER BY id") == before
    shown = sample_engine.query(f"SELECT {names} FROM emergency_backup.businesses_ai_data ORDER BY id")
    assert shown == before


_QUICKBOOKS = "DROP TABLE IF EXISTS quickbooks_connections CASCADE; DROP TYPE IF EXISTS sync_status_enum CASCADE;"


def test_bare_quickbooks_row_is_refused_with_what_it_would_take(sample_engine: Engine) -> None:
    """The document's row forgets quickbooks_sync_logs, whose column its CASCADE would take: refused, until accepted."""
    sample_engine.plans = sample_engine.plans / "nowhere"
    sample_engine.row(_QUICKBOOKS, migration="add_quickbooks_connections")
    before = sample_engine.picture()

    refused = sample_engine.rollback("add_quickbooks_connections")
    untouched = sample_engine.picture()
    assert refused.error is not None
    (accepted,) = re.findall(r"--accept ([0-9a-f]{64})", refused.error.message)
    run = completed(sample_engine.rollback("add_quickbooks_connections", accept_sha256=accepted))
    kept, between = labels(sample_engine.kept(run)), sample_engine.picture()
    completed(sample_engine.recover(run))

    assert ended(refused).startswith(
        "refused: impact_not_accepted: CASCADE would take 1 object(s) that the plan does not name:"
        " table column public.quickbooks_sync_logs.status. If that is meant, accept exactly this impact:\n"
    )
    assert untouched == before
    assert "copied table column public.quickbooks_sync_logs.status" in kept
    # Constraints fall under the plan's CASCADE: kept, without anybody's leave.
    assert any("quickbooks_sync_logs_connection_id_fkey on public.quickbooks_sync_logs" in label for label in kept)
    assert between.rows["public.quickbooks_sync_logs"] == in_order(
        {name: value for name, value in row.items() if name != "status"}
        for row in before.rows["public.quickbooks_sync_logs"]
    )
    assert sample_engine.picture() == before
