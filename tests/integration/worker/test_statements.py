"""What round trips do not show of some statements: what is kept aside, what is honoured, what has come between."""

from __future__ import annotations

import time

from ledger.model import State
from tests.harness import Engine, completed, ended


def test_stale_rows_of_a_materialized_view_are_kept(engine: Engine) -> None:
    """REFRESH replaces rows that no statement puts back: they lie in quarantine, and the recovery refreshes again."""
    engine.owner("CREATE TABLE t (n int); CREATE MATERIALIZED VIEW m AS SELECT n FROM t; INSERT INTO t VALUES (1)")
    engine.plan("REFRESH MATERIALIZED VIEW m;")

    run = completed(engine.rollback())
    (kept,) = engine.kept(run)
    completed(engine.recover(run))

    assert (kept.label(), kept.rows) == ("copied materialized view public.m", 0)
    assert engine.query("SELECT n FROM m") == [{"n": 1}]


def test_time_that_a_script_allows_itself_ends_its_statement(engine: Engine) -> None:
    """A script's own statement_timeout is honoured where it is shorter than the target's."""
    engine.owner("CREATE TABLE t (id int)")
    engine.plan("SET statement_timeout = '50ms'; SELECT pg_sleep(20);")
    began = time.monotonic()

    run = engine.rollback()

    assert "statement_timeout" in ended(run)
    assert time.monotonic() - began < 10


def test_time_of_the_target_is_the_ceiling(engine: Engine) -> None:
    """No script gives itself more time than the target allows."""
    engine.limits = {"statement_timeout_ms": 1000}
    engine.owner("CREATE TABLE t (id int)")
    engine.plan("SET statement_timeout = 0; SELECT pg_sleep(20);")

    run = engine.rollback()

    assert run.state is State.FAILED
    assert "statement_timeout" in ended(run)


def test_settings_hold_for_what_comes_after_them(engine: Engine) -> None:
    """Bodies are checked again once a script says so; nothing of it stays for Stepback's own statements."""
    body = "RETURNS int LANGUAGE sql AS 'SELECT x FROM nowhere'"
    engine.plan(
        f"SET check_function_bodies = off; CREATE FUNCTION f() {body}; RESET check_function_bodies;"
        f"CREATE FUNCTION g() {body};"
    )

    run = engine.rollback()

    assert run.state is State.FAILED
    assert 'relation "nowhere" does not exist' in ended(run)


def test_type_that_has_got_values_since_is_left(engine: Engine) -> None:
    """An attribute that a rollback added holds values by now: the recovery names the column, and changes nothing."""
    engine.owner("CREATE TYPE pair AS (a int)")
    engine.plan("ALTER TYPE pair ADD ATTRIBUTE b int;")
    run = completed(engine.rollback())
    engine.owner("CREATE TABLE h (v pair); INSERT INTO h VALUES ((1, 2))")
    before = engine.fingerprint()

    back = engine.recover(run)

    assert ended(back).startswith("refused: conflict: cannot be brought back as it was: type public.pair has values in")
    assert engine.fingerprint() == before


def test_type_that_is_gone_by_now(engine: Engine) -> None:
    """A type that somebody has dropped since cannot get its attributes back: the recovery says which."""
    engine.owner("CREATE TYPE pair AS (a int)")
    engine.plan("ALTER TYPE pair ADD ATTRIBUTE b int;")
    run = completed(engine.rollback())
    engine.owner("DROP TYPE pair")

    back = engine.recover(run)

    told = "refused: conflict: cannot be brought back as it was: type public.pair does not exist any more"
    assert ended(back) == told


def test_numbers_of_an_identity_that_goes_are_kept(engine: Engine) -> None:
    """An identity that a rollback added goes at its recovery, which keeps the position that it had reached."""
    engine.owner("CREATE TABLE t (id int PRIMARY KEY, n int)")
    engine.plan("ALTER TABLE t ALTER id ADD GENERATED ALWAYS AS IDENTITY;")
    run = completed(engine.rollback())
    engine.owner("INSERT INTO t (n) VALUES (1), (2), (3)")

    back = completed(engine.recover(run))

    (kept,) = engine.kept(back)
    assert kept.label() == "defined sequence public.t_id_seq"
    (table,) = engine.query(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname LIKE 'emergency\\_backup\\_r%' AND tablename LIKE 't\\_id\\_seq\\_%'"
    )
    assert engine.query(f"SELECT last_value FROM {table['name']}") == [{"last_value": 3}]


def test_own_indexes_of_a_partition_stay_when_it_is_detached_again(engine: Engine) -> None:
    """A recovery takes away what ATTACH brought along, and nothing that somebody has made since."""
    engine.owner(
        "CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY LIST (id); CREATE INDEX p_n ON p (n);"
        "CREATE TABLE lone (id int NOT NULL, n int)"
    )
    engine.plan("ALTER TABLE p ATTACH PARTITION lone DEFAULT;")
    run = completed(engine.rollback())
    engine.owner("CREATE INDEX mine ON lone (n, id)")

    completed(engine.recover(run))

    found = engine.query("SELECT indexname AS name FROM pg_indexes WHERE tablename = 'lone'")
    assert found == [{"name": "mine"}]


def test_parent_that_somebody_gave_since_stays(engine: Engine) -> None:
    """A recovery takes a child from the parent that the plan gave it, and from no other."""
    engine.owner("CREATE TABLE p (a int); CREATE TABLE q (a int); CREATE TABLE c (a int)")
    engine.plan("ALTER TABLE c INHERIT p;")
    run = completed(engine.rollback())
    engine.owner("ALTER TABLE c INHERIT q")

    completed(engine.recover(run))

    found = engine.query("SELECT inhparent::regclass::text AS parent FROM pg_inherits WHERE inhrelid = 'c'::regclass")
    assert found == [{"parent": "q"}]


def test_writer_of_a_row_may_not_drop_constraints_of_others_domains(engine: Engine) -> None:
    """A plan that is a row is no stronger than whoever wrote it, for domains as for tables."""
    engine.owner("CREATE DOMAIN d AS int CONSTRAINT small CHECK (VALUE < 100)")
    engine.admin("GRANT INSERT, SELECT ON migration_rollbacks TO stepback_app")
    engine.admin("GRANT USAGE ON SEQUENCE migration_rollbacks_id_seq TO stepback_app")
    engine.row("ALTER DOMAIN d DROP CONSTRAINT small;", role="stepback_app")

    run = engine.rollback()

    assert ended(run).startswith(
        "refused: not_allowed: role stepback_app, who wrote this plan, may not drop type public.d"
    )
