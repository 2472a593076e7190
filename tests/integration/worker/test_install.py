"""The target's side: installed twice, over somebody's own script, and as the document's statements expect it."""

from __future__ import annotations

import psycopg
import pytest

from ledger.errors import NotPossible
from tests.harness import Engine
from worker.install import check_installed, install
from worker.target import connect

#: What operators may have run before, as the rollback plan document gives it.
_OWN_SCRIPT = """
CREATE TABLE IF NOT EXISTS migration_rollbacks (
  id SERIAL PRIMARY KEY, migration_name VARCHAR(255) NOT NULL, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  rollback_sql TEXT NOT NULL, rollback_applied_at TIMESTAMP NULL, rollback_status VARCHAR(50) DEFAULT 'pending',
  rollback_notes TEXT, created_by VARCHAR(100) DEFAULT current_user);
CREATE SCHEMA IF NOT EXISTS emergency_backup;
INSERT INTO migration_rollbacks (migration_name, rollback_sql) VALUES ('before', 'DROP TABLE t');
CREATE TABLE emergency_backup.t_backup AS SELECT 1 AS kept;
CREATE OR REPLACE VIEW rollback_status_monitor AS
SELECT mr.migration_name, mr.applied_at, mr.rollback_applied_at, mr.rollback_status, mr.rollback_notes,
  CASE WHEN mr.rollback_status = 'completed' THEN 'SUCCESS' WHEN mr.rollback_status = 'in_progress' THEN 'PENDING'
       WHEN mr.rollback_status = 'failed' THEN 'ERROR' ELSE 'UNKNOWN' END AS status_category
FROM migration_rollbacks mr WHERE mr.migration_name LIKE '%health%' ORDER BY mr.rollback_applied_at DESC;
"""


def test_twice_is_harmless(engine: Engine) -> None:
    """A second installation makes nothing anew, takes nothing away and keeps every registry row."""
    engine.row("DROP TABLE IF EXISTS t;")
    catalogs = (
        # Figures that autovacuum takes are not ours.
        "SELECT oid, to_jsonb(c) - '{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}'::text[]"
        " AS row FROM pg_class AS c WHERE relnamespace IN"
        " ('public'::regnamespace, 'emergency_backup'::regnamespace) ORDER BY oid"
    )
    before = engine.query(catalogs), engine.query("SELECT * FROM migration_rollbacks")

    engine.install()

    assert (engine.query(catalogs), engine.query("SELECT * FROM migration_rollbacks")) == before


def test_own_script_keeps_its_rows(empty_target_owner_url: str, empty_target_url: str) -> None:
    """Where the document's own script ran before, its rows, backups and view columns are kept."""
    with psycopg.connect(empty_target_owner_url, autocommit=True) as owner:
        owner.execute(_OWN_SCRIPT)
    session = connect(empty_target_url, "test")

    install(session)

    check_installed(session)
    rows = session.rows(
        "SELECT migration_name, rollback_sql, rollback_status, recorded_by FROM public.migration_rollbacks"
    )
    assert [tuple(row.values()) for row in rows] == [("before", "DROP TABLE t", "pending", None)]
    assert session.value("SELECT kept FROM emergency_backup.t_backup") == 1
    session.close()


def test_document_s_insert_works_unchanged(engine: Engine) -> None:
    """A row is inserted by name and SQL alone; defaults fill the rest, and the database notes the writer."""
    engine.owner("INSERT INTO migration_rollbacks (migration_name, rollback_sql) VALUES ('add_x', 'DROP TABLE x;')")

    (row,) = engine.query("SELECT rollback_status, created_by, recorded_by, plan_sha256 FROM migration_rollbacks")

    assert row == {
        "rollback_status": "pending",
        "created_by": "goodbuy_app",
        "recorded_by": "goodbuy_app",
        "plan_sha256": None,
    }


def test_monitor_shows_every_row_with_its_category(engine: Engine) -> None:
    """The view leaves no migration out, whatever its name, and has the document's four categories."""
    states = ("pending", "in_progress", "completed", "failed", "recovered")
    for state in states:
        engine.owner(
            "INSERT INTO migration_rollbacks (migration_name, rollback_sql, rollback_status)"
            f" VALUES ('add_{state}', 'DROP TABLE x;', '{state}')"
        )

    rows = engine.query("SELECT rollback_status, status_category FROM rollback_status_monitor")

    assert {row["rollback_status"]: row["status_category"] for row in rows} == dict(
        zip(states, ("UNKNOWN", "PENDING", "SUCCESS", "ERROR", "UNKNOWN"), strict=True)
    )


def test_nobody_else_gets_in(engine: Engine) -> None:
    """Another role can neither read nor write what Stepback keeps."""
    for statement in ("SELECT FROM emergency_backup.preserved_objects", "DELETE FROM emergency_backup.fence"):
        with engine.connect("stepback_app") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(statement)


def test_target_without_its_side_is_refused(empty_target_url: str) -> None:
    """A target where nothing is installed is named as such, with the command that helps."""
    session = connect(empty_target_url, "test")

    with pytest.raises(NotPossible, match="run: stepback init"):
        check_installed(session)

    session.close()
