"""What fails once apply has begun: gates, locks, a catalog that changes meanwhile. All of it is taken back and said."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest

from ledger.model import Run, State
from tests.harness import Engine, completed, ended

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, c int); INSERT INTO orders VALUES (1, 1);"
    "CREATE INDEX by_c ON orders (c);"
    "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1); CREATE SEQUENCE numbers;"
    "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE FUNCTION writes() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN DELETE FROM other; RETURN true; END'"
)


def assert_failed(engine: Engine, run: Run, code: str, says: str) -> None:
    """See that a run failed with a code and words, in the ledger, the audit log and the registry."""
    assert run.state is State.FAILED, ended(run)
    assert run.error is not None
    assert run.error.code == code, ended(run)
    assert re.search(says, run.error.message), ended(run)
    last = engine.events(run)[-1]
    assert (last.type, last.outcome) == ("run_failed", "failed")
    assert last.detail["error"] == {"code": code, "message": run.error.message}
    assert engine.registry() == ["failed"]
    assert engine.query("SELECT FROM emergency_backup.preserved_objects") == []
    assert engine.query("SELECT FROM emergency_backup.marker") == []
    assert engine.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'") == []


# -- gates


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("SELECT false", "line 1: expected true, got false"),
        ("SELECT true;\n\nSELECT\n  false", "line 3: expected true, got false"),
        ("SELECT NULL::boolean", "got NULL"),
        ("SELECT true WHERE false", "expected one row with one column, got 0"),
        ("SELECT true UNION ALL SELECT true", "expected one row with one column, got 2"),
        ("SELECT true, true", "expected one row with one column"),
        ("SELECT", "expected one row with one column"),
        ("SELECT 1", "got no boolean"),
        ("SELECT 'true'", "got no boolean"),
        ("SELECT 1 / 0 = 1", "22012"),
        ("SELECT 'x'::int = 1", "22P02"),
        ("SELECT count(*) = 0 FROM orders", '"orders" does not exist'),
        ("SELECT count(*) > 0 FROM pg_authid", "permission denied"),
        ("WITH gone AS (DELETE FROM other RETURNING 1) SELECT count(*) = 1 FROM gone", "read-only"),
        ("SELECT writes()", "read-only"),
        ("SELECT nextval('numbers') > 0", "read-only"),
        ("SELECT true INTO TABLE extra", "read-only"),
        ("SELECT id = 1 FROM other FOR UPDATE", "read-only"),
        ("SELECT set_config('transaction_read_only', 'off', false) IS NOT NULL", "."),
        ("SELECT pg_sleep(5) IS NULL", "statement_timeout"),
    ],
)
def test_gate_that_does_not_hold(engine: Engine, gate: str, says: str) -> None:
    """Anything but one TRUE fails the run with the gate's line, writes nothing, and the target is as it was."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;", verify=gate)
    engine.limits = {"statement_timeout_ms": 1000}
    before = engine.picture()

    failed = engine.rollback()

    assert_failed(engine, failed, "gate_failed", says)
    assert engine.picture() == before


@pytest.mark.parametrize(
    "gate",
    [
        "SELECT true; SELECT NOT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'public.orders')",
        "SELECT to_regclass('orders') IS NULL AND to_regclass('public.orders') IS NULL",
        "WITH o AS (SELECT count(*) AS n FROM other) SELECT n = 1 FROM o",
        "VALUES (true)",
        "SELECT '100%' LIKE '%\\%' AND ':x' <> '%s' -- 50% :sure",
        "SELECT set_config('search_path', 'nowhere', true) IS NOT NULL; SELECT count(*) = 1 FROM other",
    ],
)
def test_gate_that_holds(engine: Engine, gate: str) -> None:
    """Gates see the target as it will be, with names as the plan understands them, each without what others set."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;", verify=gate)

    completed(engine.rollback())


def test_plan_can_be_repaired_after_a_failure(engine: Engine) -> None:
    """After a failed run the same migration is asked for again, and its registry row says completed."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;", verify="SELECT count(*) = 0 FROM other;")
    failed = engine.rollback()
    engine.owner("DELETE FROM other")

    again = engine.rollback()

    assert failed.state is State.FAILED
    assert not engine.deliver(failed.command_id)
    completed(again)
    assert engine.registry() == ["completed"]


# -- locks


@pytest.mark.parametrize(
    ("plan", "held"),
    [
        ("DROP TABLE orders;", "SELECT FROM orders"),
        ("DROP TABLE orders;", "INSERT INTO orders VALUES (9)"),
        ("DROP INDEX by_c;", "SELECT FROM orders"),
        ("ALTER TABLE orders DROP COLUMN c;", "LOCK TABLE orders IN ROW SHARE MODE"),
    ],
)
def test_table_held_for_longer_than_the_budget(engine: Engine, plan: str, held: str) -> None:
    """A reader that does not let go is waited for within the budget, named with its pid, and left alone."""
    engine.owner(_ORDERS)
    engine.plan(plan)
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 0.5}
    before = engine.fingerprint()

    with engine.connect("goodbuy_app") as reader:
        reader.execute(f"SET application_name = 'nightly report'; BEGIN; {held}".encode())
        failed = engine.rollback()
        pid = reader.info.backend_pid
        reader.execute("ROLLBACK")

    assert_failed(
        engine, failed, "lock_budget_spent", rf"public\.orders is held by pid {pid} \(goodbuy_app, nightly report"
    )
    assert engine.fingerprint() == before
    waits = [event for event in engine.events(failed) if event.type == "lock_waited"]
    assert waits
    assert all(f"pid {pid}" in str(event.detail["who"]) for event in waits)
    completed(engine.rollback())


def test_table_let_go_within_the_budget(engine: Engine) -> None:
    """A reader that lets go in time costs a few tries, not the run."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 20}
    with engine.connect("goodbuy_app") as reader:
        reader.execute("BEGIN; SELECT FROM orders")
        begun: list[str] = []

        def let_go(passed: str) -> None:
            begun.extend([passed] if passed == "apply_begun" else [])
            if len(begun) == 2:
                reader.execute("ROLLBACK")

        engine.at = let_go

        done = completed(engine.rollback())

    assert [event.type for event in engine.events(done)].count("lock_waited") == 1


def test_referenced_table_is_locked_too(engine: Engine) -> None:
    """A foreign key cannot be dropped while somebody reads the table that it refers to, and that one is named."""
    engine.owner(f"{_ORDERS}; ALTER TABLE orders ADD FOREIGN KEY (c) REFERENCES other")
    engine.plan("DROP TABLE orders;")
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 0.2}

    with engine.connect("goodbuy_app") as reader:
        pid = reader.info.backend_pid
        reader.execute("BEGIN; SELECT FROM other")
        failed = engine.rollback()
        reader.execute("ROLLBACK")

    assert_failed(engine, failed, "lock_budget_spent", f"public.other is held by pid {pid}")


_OTHERS = (
    "CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);"
    "CREATE TABLE folk (id int); CREATE TABLE staff () INHERITS (folk); CREATE SEQUENCE counter; CREATE SCHEMA app;"
    "CREATE TABLE named (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);"
    "CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM folk;"
)


@pytest.mark.parametrize(
    ("plan", "held", "name"),
    [
        ("DROP SEQUENCE counter;", "SELECT nextval('counter')", "counter"),
        ("ALTER TABLE named DROP n;", "SELECT nextval('named_n_seq')", "named_n_seq"),
        ("DROP MATERIALIZED VIEW sums;", "SELECT FROM sums", "sums"),
        ("DROP TABLE part;", "SELECT FROM parts WHERE id = 2", "parts"),
        ("DROP TABLE staff;", "SELECT FROM ONLY folk", "folk"),
    ],
)
def test_other_relations_are_locked_too(engine: Engine, plan: str, held: str, name: str) -> None:
    """What LOCK TABLE does not take is locked all the same, as are parents that stay; who holds it is named."""
    engine.owner(_OTHERS)
    engine.plan(plan)
    engine.limits = {"lock_timeout_ms": 50, "lock_budget_seconds": 0.2}
    before = engine.fingerprint()

    with engine.connect("goodbuy_app") as reader:
        pid = reader.info.backend_pid
        reader.execute(f"BEGIN; {held}".encode())
        failed = engine.rollback()
        reader.execute("ROLLBACK")

    assert_failed(engine, failed, "lock_budget_spent", f"public.{name} is held by pid {pid}")
    assert [line for line in engine.fingerprint().schema if name not in line] == [
        line for line in before.schema if name not in line
    ]
    completed(engine.recover(completed(engine.rollback())))


@pytest.mark.parametrize(
    ("plan", "sequence"), [("ALTER TABLE named DROP n;", "named_n_seq"), ("DROP SEQUENCE counter;", "counter")]
)
def test_numbers_that_were_drawn_since_preflight_are_not_drawn_again(engine: Engine, plan: str, sequence: str) -> None:
    """A sequence goes on after its last number, whenever that was drawn."""
    engine.owner(_OTHERS)
    engine.plan(plan)
    engine.at = _once("recorded", lambda: engine.owner(f"SELECT nextval('{sequence}') FROM generate_series(1, 5)"))

    done = completed(engine.rollback())
    engine.at = lambda _point: None
    completed(engine.recover(done))

    assert engine.query(f"SELECT nextval('{sequence}') AS n") == [{"n": 6}]


# -- the catalog moves on

_CHANGES = {
    "a foreign key more": (
        "DROP TABLE orders CASCADE;",
        "CREATE TABLE lines (o int REFERENCES orders)",
        "impact_changed",
    ),
    "a view more": ("DROP TABLE orders;", "CREATE VIEW v AS SELECT * FROM orders", "impact_changed"),
    "an index more": ("ALTER TABLE orders DROP COLUMN c;", "CREATE INDEX more ON orders (c, id)", "impact_changed"),
    "a trigger more": (
        "DROP TABLE orders;",
        "CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION t()",
        "impact_changed",
    ),
    "the table gone": ("DROP TABLE orders;", "DROP TABLE orders", "impact_changed|statement_failed"),
    "the table made anew": (
        "DROP TABLE orders;",
        "DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, c int)",
        "impact_changed",
    ),
    "the table renamed": ("DROP TABLE orders;", "ALTER TABLE orders RENAME TO old", "impact_changed|statement_failed"),
    "the column gone": ("ALTER TABLE orders DROP COLUMN c;", "ALTER TABLE orders DROP COLUMN c", "impact_changed"),
    "the index gone": ("DROP INDEX by_c;", "DROP INDEX by_c", "impact_changed"),
    "a partition more": ("DROP TABLE parts, part;", "CREATE TABLE more PARTITION OF parts DEFAULT", "impact_changed"),
    "a child more": ("DROP TABLE staff;", "CREATE TABLE chiefs () INHERITS (staff)", "impact_changed"),
    "the bound changed": (
        "DROP TABLE part;",
        "ALTER TABLE parts DETACH PARTITION part; DROP TABLE part; CREATE TABLE part PARTITION OF parts DEFAULT",
        "impact_changed",
    ),
    "something more in a schema": ("DROP SCHEMA app;", "CREATE TABLE app.more ()", "impact_changed"),
    "the type used": (
        "DROP TYPE mood CASCADE;",
        "CREATE TABLE people (id int PRIMARY KEY, mood mood)",
        "impact_changed",
    ),
}


@pytest.mark.parametrize("point", ["registry_in_progress", "apply_noted"])
@pytest.mark.parametrize(("plan", "change", "codes"), _CHANGES.values(), ids=_CHANGES)
def test_catalog_that_changed_since_preflight(engine: Engine, plan: str, change: str, codes: str, point: str) -> None:
    """What the plan reaches is looked at again under the locks: if it is not what preflight saw, nothing is done."""
    engine.owner(f"{_ORDERS}; CREATE TYPE mood AS ENUM ('a'); {_OTHERS}")
    engine.plan(plan)
    engine.at = _once(point, lambda: engine.owner(change))

    failed = engine.rollback()
    after = engine.picture()

    assert failed.error is not None
    assert_failed(engine, failed, failed.error.code, ".")
    assert failed.error.code in codes.split("|"), ended(failed)
    engine.at = lambda _point: None
    assert after == engine.picture()


def test_rows_that_came_since_preflight_are_preserved_too(engine: Engine) -> None:
    """Rows are no part of the impact: what is written until the locks are had is kept with the rest."""
    engine.owner(_ORDERS)
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    engine.at = _once("apply_noted", lambda: engine.owner("INSERT INTO orders VALUES (2, 2)"))

    done = completed(engine.rollback())
    engine.at = lambda _point: None

    assert [row.rows for row in engine.kept(done) if row.inside is not None] == [2]
    completed(engine.recover(done))
    assert engine.query("SELECT c FROM orders ORDER BY id") == [{"c": 1}, {"c": 2}]


def test_key_that_goes_after_preflight(engine: Engine) -> None:
    """How values are told apart is found out again with the locks: without a key, whole rows are kept."""
    engine.owner(_ORDERS)
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    engine.at = _once("apply_noted", lambda: engine.owner("ALTER TABLE orders DROP CONSTRAINT orders_pkey"))

    done = completed(engine.rollback())
    engine.at = lambda _point: None

    completed(engine.recover(done))
    assert engine.query("SELECT * FROM orders") == [{"id": 1, "c": 1}]


def test_statement_that_the_server_refuses(engine: Engine) -> None:
    """An error of the server inside apply is said with its SQLSTATE, without values, and nothing has changed."""
    engine.owner(_ORDERS)
    engine.admin(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'not today' USING DETAIL = 'secret'; END$$;"
        "CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION no()"
    )
    engine.plan("DROP TABLE orders;")
    before = engine.fingerprint()

    failed = engine.rollback()

    assert_failed(
        engine, failed, "statement_failed", r"P0001\): a RAISE in a function or DO block, whose words may hold rows"
    )
    assert "not today" not in ended(failed)
    assert engine.fingerprint() == before


def test_connection_cut_inside_apply(engine: Engine) -> None:
    """A session that is ended inside apply leaves nothing behind, and the run is somebody else's to finish."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    before = engine.fingerprint()

    def cut() -> None:
        engine.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'stepback run 1.1'"
        )

    engine.at = _once("recorded", cut)
    needs_operator = engine.rollback()

    assert needs_operator.state is State.NEEDS_OPERATOR
    assert needs_operator.error is not None
    assert needs_operator.error.code == "target_unreachable"
    assert engine.fingerprint() == before
    assert engine.query("SELECT FROM emergency_backup.marker") == []


def _once(point: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts when a point is passed for the first time."""
    passed: list[str] = []

    def at(here: str) -> None:
        if here == point and not passed:
            passed.append(here)
            act()

    return at


def test_reader_is_not_kept_waiting_by_a_stalled_worker(engine: Engine) -> None:
    """A worker that stalls with locks held is ended by the server, so that readers wait two seconds, not for ever."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")

    def stall() -> None:
        with engine.connect("goodbuy_app") as reader:
            reader.execute("SET statement_timeout = '20s'")
            reader.execute("SELECT FROM orders")

    engine.at = _once("locked", stall)
    stalled = engine.rollback()

    assert stalled.state is State.NEEDS_OPERATOR, ended(stalled)
    assert engine.query("SELECT count(*) FROM orders") == [{"count": 1}]


def test_unique_violation_names_no_value(engine: Engine) -> None:
    """An error over the application's rows says what kind it is, never what the rows hold."""
    engine.owner(_ORDERS)
    with pytest.raises(psycopg.errors.UniqueViolation):
        engine.owner("INSERT INTO orders VALUES (1, 424242)")
    engine.plan("DROP TABLE orders;", verify="SELECT '424242x'::int = 1")

    failed = engine.rollback()

    assert "424242" not in ended(failed)
    assert all("424242" not in str(event.detail) for event in engine.events(failed))
