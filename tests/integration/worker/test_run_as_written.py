"""Statements that are run as written: no stronger than the plan's owner, nothing lost, newer rows untouched."""

from __future__ import annotations

import pytest

from ledger.model import State
from tests.harness import Engine, completed, ended

_GIVEN = "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one'), (2, 'two');"


@pytest.fixture
def shop(engine: Engine) -> Engine:
    """Give an engine on a target with one table."""
    engine.owner(_GIVEN)
    return engine


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DO $$BEGIN RESET ROLE; END$$", "role"),
        ("DO $$BEGIN SET ROLE stepback_worker; END$$", "role"),
        ("DO $$BEGIN SET SESSION AUTHORIZATION DEFAULT; END$$", "session_authorization"),
        ("DO $$BEGIN COMMIT; END$$", "transaction"),
        ("SELECT set_config('lock_timeout', '0', false)", "lock_timeout"),
        ("SELECT set_config('statement_timeout', '0', true)", "statement_timeout"),
        ("SELECT set_config('row_security', 'on', true)", "row_security"),
        ("SELECT set_config('session_replication_role', 'replica', true)", "session_replication_role"),
        ("DO $$BEGIN CREATE EXTENSION plpgsql; END$$", ""),
        ("DELETE FROM emergency_backup.marker", "role goodbuy_app, which this plan runs as, lacks"),
        ("DELETE FROM migration_rollbacks", "migration_rollbacks"),
        ("DROP TABLE t; DO $$BEGIN EXECUTE 'CREATE TABLE other.x (id int)'; END$$", "other"),
    ],
)
def test_statement_cannot_reach_beyond_its_owner(shop: Engine, statement: str, told: str) -> None:
    """Neither role, nor transaction, nor session, nor Stepback's own can be touched; everything is taken back."""
    shop.plan(f"{statement}; UPDATE t SET a = 'x';")
    before = shop.fingerprint()

    run = shop.rollback()

    assert run.state in {State.FAILED, State.REFUSED}
    assert told in ended(run)
    assert shop.fingerprint() == before


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ("ALTER TABLE t DROP COLUMN a", "public.t.a"),
        ("DROP TABLE t", "public.t"),
        ("ALTER TABLE t ALTER a SET DEFAULT 1; ALTER TABLE t RENAME a TO b", "public.t.a"),
        ("DROP FUNCTION helper()", "helper"),
        ("COMMENT ON TABLE t IS NULL", "public.t"),
    ],
)
def test_block_that_loses_something_is_refused_by_the_proof(shop: Engine, block: str, named: str) -> None:
    """What a DO block does is not in its text: whatever it loses is named, and taken back."""
    shop.owner("CREATE FUNCTION helper() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON TABLE t IS 'mine'")
    statements = "; ".join(f"EXECUTE '{part.strip()}'" for part in block.split(";"))
    shop.plan(f"DO $$BEGIN {statements}; END$$;")
    before = shop.fingerprint()

    run = shop.rollback()

    assert run.error is not None
    assert run.error.code == "would_lose_data"
    assert named in run.error.message
    assert shop.fingerprint() == before


def test_rows_of_a_table_that_nothing_mentions_are_not_lost(shop: Engine) -> None:
    """A block that hides the name of the table it deletes from is found by the server's counters."""
    shop.plan("DO $$BEGIN EXECUTE 'DELETE FROM ' || chr(116); END$$;")
    before = shop.fingerprint()

    run = shop.rollback()

    assert ended(run).startswith("failed: would_lose_data: not preserved: 2 row(s)")
    assert shop.fingerprint() == before


def test_row_runs_as_whoever_wrote_it(shop: Engine) -> None:
    """A plan that is a row in the registry is run as its writer, who may do no more than without it."""
    shop.admin("CREATE ROLE writer LOGIN; GRANT INSERT, SELECT ON migration_rollbacks TO writer;")
    shop.admin("GRANT USAGE ON SEQUENCE migration_rollbacks_id_seq TO writer; GRANT writer TO stepback_worker")
    try:
        shop.row("UPDATE t SET a = 'x'", role="writer")

        run = shop.rollback()

        assert run.state is not State.COMPLETED
        assert "permission denied" in ended(run) or "may not" in ended(run)
    finally:
        shop.admin("DROP OWNED BY writer; DROP ROLE writer")


def test_superuser_runs_no_plan(shop: Engine) -> None:
    """Nothing would hold a superuser back: such a plan is refused, and told what to write instead."""
    (shop.plans / "m").mkdir(parents=True, exist_ok=True)
    shop.plan("UPDATE t SET a = 'x';")
    (shop.plans / "m" / "plan.toml").write_text('owner = "postgres"\n', encoding="utf-8")

    assert "superuser" in ended(shop.rollback())


def test_newer_rows_win(shop: Engine) -> None:
    """A row changed or made again since the rollback stays as it is; the others come back."""
    shop.owner("INSERT INTO t VALUES (3, 'three'), (4, 'four')")
    shop.plan("UPDATE t SET a = upper(a) WHERE id < 3; DELETE FROM t WHERE id > 2; INSERT INTO t VALUES (9, 'nine');")
    run = completed(shop.rollback())
    shop.owner("UPDATE t SET a = 'newer' WHERE id = 1; INSERT INTO t VALUES (3, 'again')")

    completed(shop.recover(run))

    rows = {row["id"]: row["a"] for row in shop.query("SELECT id, a FROM t")}
    assert rows == {1: "newer", 2: "two", 3: "again", 4: "four"}


def test_what_a_rollback_created_is_kept_when_it_goes(shop: Engine) -> None:
    """Rows that came into a created table since lie in the quarantine of the recovery."""
    shop.plan("CREATE TABLE fresh (id int); DROP TABLE t;")
    run = completed(shop.rollback())
    shop.owner("INSERT INTO fresh VALUES (42)")

    back = completed(shop.recover(run))

    assert shop.query("SELECT to_regclass('fresh') AS fresh") == [{"fresh": None}]
    (kept,) = shop.kept(back)
    assert (kept.label(), kept.rows) == ("moved table public.fresh", 1)
    assert shop.query(f"SELECT id FROM {kept.inside}") == [{"id": 42}]


def test_what_a_rollback_created_and_others_use_stays(shop: Engine) -> None:
    """A view of somebody on a created table: the recovery is refused, names it, and changes nothing."""
    shop.plan("CREATE TABLE fresh (id int); DROP TABLE t;")
    run = completed(shop.rollback())
    shop.owner("CREATE VIEW mine AS SELECT * FROM fresh")
    before = shop.fingerprint()

    back = shop.recover(run)

    assert ended(back).startswith("refused: conflict: what the rollback created is in use by now")
    assert "public.mine" in ended(back)
    assert shop.fingerprint() == before


def test_stage_may_reach_nothing_that_was_not_foreseen(shop: Engine) -> None:
    """A name that a block gives to something else than preflight saw is not followed."""
    shop.owner("CREATE TABLE precious (id int)")
    shop.plan(
        "DO $$BEGIN EXECUTE 'ALTER TABLE ' || 't RENAME TO gone';"
        " EXECUTE 'ALTER TABLE pre' || 'cious RENAME TO t'; END$$;"
        "DROP TABLE t;"
    )
    before = shop.fingerprint()

    run = shop.rollback()

    assert run.state is not State.COMPLETED
    assert shop.fingerprint() == before
