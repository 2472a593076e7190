"""Columns that are copied before apply: whatever others do meanwhile, the copy holds what stood there at the drop."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ledger.model import Run, State
from tests.harness import Engine, completed, ended
from worker.crash_points import CRASH_POINTS_PRESERVE
from worker.preview import preview
from worker.sweep import Sweeper

_ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, note text);
INSERT INTO items SELECT i, 'item ' || i, i * 1.5, repeat('n', i % 50) FROM generate_series(1, 3000) AS i;
CREATE TABLE truth AS SELECT id, price, note FROM items;
"""
_PLAN = "ALTER TABLE items DROP COLUMN price, DROP COLUMN note;"

#: What is left of Stepback's beside the list of what is preserved.
_LEFT = """
SELECT tgname::text AS left FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'stepback%'
UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'stepback%'
UNION ALL SELECT relname FROM pg_class WHERE relname LIKE 'stepback%'
UNION ALL SELECT source FROM emergency_backup.online_copies
"""


@pytest.fixture
def items(engine: Engine) -> Engine:
    """Give an engine with a table of 3,000 rows, what its columns should hold beside it, and a plan to drop them."""
    engine.owner(_ITEMS)
    engine.plan(_PLAN, online_rows=0)
    return engine


def when(engine: Engine, **acts: Callable[[], object] | str) -> list[str]:
    """Do something the first time that a run passes a point: SQL is the application's; return the points passed."""
    passed: list[str] = []

    def at(point: str) -> None:
        act = acts.get(point) if point not in passed else None
        passed.append(point)
        if isinstance(act, str):
            engine.owner(act)
        elif act is not None:
            act()

    engine.at = at
    return passed


def note_truth(engine: Engine) -> None:
    """Note what the columns hold now: nobody writes any more."""
    engine.owner("TRUNCATE truth; INSERT INTO truth SELECT id, price, note FROM items")


def copy_of(engine: Engine, run: Run) -> str:
    """Return the copy of a run, qualified and quoted."""
    (inside,) = {row.inside for row in engine.kept(run)}
    assert inside is not None
    return inside


def assert_exact(engine: Engine, run: Run) -> None:
    """See that the copy holds the truth to the letter, that nothing of the copying is left, and that it comes back."""
    inside, columns = copy_of(engine, run), "id, price::text, note"
    differ = f"""
        (SELECT 'missing', {columns} FROM truth EXCEPT SELECT 'missing', {columns} FROM {inside})
        UNION ALL
        (SELECT 'ghost or stale', {columns} FROM {inside} EXCEPT SELECT 'ghost or stale', {columns} FROM truth)
    """
    assert engine.query(f"SELECT count(*) FROM {inside}") == engine.query("SELECT count(*) FROM truth")
    assert engine.query(differ) == []
    assert engine.query(_LEFT) == []
    assert {row.rows for row in engine.kept(run)} == {engine.query("SELECT count(*) FROM truth")[0]["count"]}
    completed(engine.recover(run))
    assert engine.query(differ.replace(inside, "items")) == []


def outdated(engine: Engine, run: Run) -> int:
    """Return how often apply found that a copy had to be compared again."""
    return sum(1 for event in engine.events(run) if event.type == "copy_outdated")


# -- what it looks like


def test_phase_preserve_has_a_step_for_each_table(items: Engine) -> None:
    """The copy is a step of phase preserve, its comparisons are told, and apply copies nothing."""
    items.owner("CREATE TABLE more (id int PRIMARY KEY, c int); INSERT INTO more VALUES (1, 1)")
    items.plan(f"{_PLAN} ALTER TABLE more DROP COLUMN c;", online_rows=0)

    done = completed(items.rollback())

    assert [s.step for s in done.steps if s.phase == "preserve"] == [
        "copy columns of public.items",
        "compare columns of public.items",
        "copy columns of public.more",
        "compare columns of public.more",
    ]
    told = next(event.detail for event in items.events(done) if event.step == "compare columns of public.items")
    assert (told["comparisons"], told["differences"]) == (1, 0)


def test_columns_are_copied_without_a_lock(items: Engine) -> None:
    """While the copy is made, kept and compared, somebody may be reading the table all the time."""
    with items.connect("goodbuy_app") as reader:
        reader.execute("BEGIN; SELECT FROM items")
        passed = when(items, apply_entered=lambda: reader.execute("COMMIT"))
        completed(items.rollback())

    assert "lock_wait_journaled" not in passed


@pytest.mark.parametrize(
    ("given", "rows", "says"),
    [
        ("", None, "about .* rows, online_rows is 50,000"),
        ("", 100_000, "about .* rows, online_rows is 100,000"),
        ("ALTER TABLE items SET UNLOGGED", 0, "unlogged"),
        ("ALTER TABLE items FORCE ROW LEVEL SECURITY", 0, "policies bind its owner"),
        ("CREATE DOMAIN d AS int; ALTER TABLE items ALTER id TYPE d", 0, "key is of a type"),
    ],
)
def test_copied_under_the_lock_and_says_why(items: Engine, given: str, rows: int | None, says: str) -> None:
    """A small table, and one that cannot be copied online, is copied inside apply; plan and registry say so."""
    items.owner(given)
    items.plan(_PLAN, online_rows=rows)

    done = completed(items.rollback())

    (notes,) = items.query("SELECT rollback_notes FROM migration_rollbacks")
    assert [s for s in done.steps if s.phase == "preserve"] == []
    assert re.search(f"copied under the lock: .*{says}", notes["rollback_notes"]), notes


def test_size_is_looked_at_once(items: Engine) -> None:
    """What was large enough in preflight stays so, whatever becomes of the table meanwhile."""
    items.owner("ANALYZE items")
    items.plan(_PLAN, online_rows=3000)
    when(items, copy_complete="DELETE FROM items WHERE id > 10; DELETE FROM truth WHERE id > 10; ANALYZE items")

    done = completed(items.rollback())

    assert_exact(items, done)


def test_triggers_are_not_the_plans_business(items: Engine) -> None:
    """While they are on, a dry run sees the impact that it saw before."""
    seen = []

    def look() -> None:
        dry = preview(items.session, items.settings.targets["shop"], "shop", "m")
        assert dry.work is not None
        seen.append(dry.work.impact_sha256)

    when(items, preflight_entered=look, copy_complete=look)

    completed(items.rollback())

    assert len(set(seen)) == 1
    assert len(seen) == 2


# -- what others do meanwhile

_SHARED = (
    "INSERT INTO {t} ({c}) VALUES (9001, 1.10, 'new'), (9002, NULL, NULL)",
    "UPDATE {t} SET price = price + 1 WHERE id % 7 = 0",
    "DELETE FROM {t} WHERE id % 11 = 0",
    "UPDATE {t} SET id = id + 100000 WHERE id % 13 = 0",
    "UPDATE {t} SET price = trim_scale(price) WHERE id % 5 = 0",
    "INSERT INTO {t} ({c}) VALUES (1, 0, 'upserted') ON CONFLICT (id) DO UPDATE SET note = excluded.note",
    "DELETE FROM {t} WHERE id = 2; INSERT INTO {t} ({c}) VALUES (2, 22, 'again')",
)
_WRITES = "; ".join(
    statement.format(t=table, c="id, price, note") for statement in _SHARED for table in ("items", "truth")
)


@pytest.mark.parametrize("point", ["preserve_entered", "copy_made", "copy_kept", "copy_complete", "apply_entered"])
def test_written_at_a_point(items: Engine, point: str) -> None:
    """Rows inserted, changed, deleted and given other keys at {point} are in the copy as they are at the drop."""
    items.owner("ALTER TABLE truth ADD PRIMARY KEY (id)")
    when(items, **{point: _WRITES})

    done = completed(items.rollback())

    assert_exact(items, done)


@pytest.mark.parametrize("point", ["copy_made", "copy_kept", "copy_complete"])
def test_what_is_rolled_back_was_never_there(items: Engine, point: str) -> None:
    """Neither a transaction that is taken back nor a savepoint leaves anything in the copy."""
    when(
        items,
        **{
            point: "BEGIN; DELETE FROM items; ROLLBACK; BEGIN; SAVEPOINT s; UPDATE items SET note = 'x', id = -id;"
            " ROLLBACK TO s; UPDATE items SET price = 0 WHERE id = 1; COMMIT; UPDATE truth SET price = 0 WHERE id = 1"
        },
    )

    done = completed(items.rollback())

    assert_exact(items, done)


@pytest.mark.parametrize("point", ["copy_made", "copy_kept", "chunk_copied", "copy_complete", "apply_entered"])
def test_truncated_at_a_point(items: Engine, point: str) -> None:
    """TRUNCATE at {point} leaves no ghosts, rows written after it are there; one that is taken back changes nothing."""
    script = (
        "BEGIN; TRUNCATE items; ROLLBACK; TRUNCATE items, truth;"
        "INSERT INTO items (id, price, note) VALUES (1, 1, 'after'); INSERT INTO truth VALUES (1, 1, 'after');"
    )
    first = {} if point != "chunk_copied" else {"copy_made": "DELETE FROM items WHERE id = 1"}
    when(items, **first, **{point: script})

    done = completed(items.rollback())

    assert_exact(items, done)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_deleted_by_somebody_with_an_older_snapshot(items: Engine, level: str) -> None:
    """A transaction that cannot see the copy's rows, since they are younger than its snapshot, leaves no ghosts."""
    with items.connect("goodbuy_app") as old:

        def begin() -> None:
            old.execute(f"BEGIN ISOLATION LEVEL {level}")
            old.execute("SELECT FROM truth")

        def write() -> None:
            for table in ("items", "truth"):
                old.execute(f"DELETE FROM {table} WHERE id = 5".encode())
                old.execute(f"UPDATE {table} SET price = 66 WHERE id = 6".encode())
                old.execute(f"UPDATE {table} SET id = 7777 WHERE id = 7".encode())
            old.execute("COMMIT")

        when(items, preserve_entered=begin, copy_complete=write)
        done = completed(items.rollback())

    assert outdated(items, done) == 1
    assert_exact(items, done)


def test_keys_that_change_hands_in_one_statement(items: Engine) -> None:
    """Keys that move up by one, which only the order of the rows allows, and a function that writes in between."""
    items.owner(
        "CREATE FUNCTION refill() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        "  IF OLD.id = 2 THEN INSERT INTO items (id, price, note) VALUES (1, 11, 'refilled'); END IF;"
        "  RETURN NEW; END$$;"
        "CREATE TRIGGER refill BEFORE UPDATE ON items FOR EACH ROW WHEN (OLD.id <= 2) EXECUTE FUNCTION refill()"
    )

    def shift() -> None:
        items.owner("UPDATE items SET id = id + 10000 WHERE id <= 2")
        with items.connect("goodbuy_app") as conn, conn.transaction():
            conn.execute("DECLARE c CURSOR FOR SELECT id FROM items WHERE id >= 100 ORDER BY id DESC FOR UPDATE")
            conn.execute("UPDATE items SET id = id + 50000 WHERE id >= 100")
        note_truth(items)

    when(items, copy_complete=shift)

    done = completed(items.rollback())

    assert_exact(items, done)


def test_deferrable_key_is_no_key(items: Engine) -> None:
    """With a deferrable primary key rows are told apart by another one, while `id = id + 1` goes on."""
    items.owner(
        "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY (id) DEFERRABLE,"
        " ADD code int UNIQUE; UPDATE items SET code = -id; ALTER TABLE items ALTER code SET NOT NULL"
    )

    def shift() -> None:
        items.owner("UPDATE items SET id = id + 1; UPDATE items SET price = price + 1 WHERE id % 2 = 0")
        items.owner("TRUNCATE truth; INSERT INTO truth SELECT code, price, note FROM items")

    when(items, copy_kept=shift, copy_complete=shift)

    done = completed(items.rollback())

    inside = copy_of(items, done)
    assert items.query(f"SELECT code, price, note FROM {inside} EXCEPT SELECT * FROM truth") == []
    assert items.query(f"SELECT count(*) FROM {inside}")[0]["count"] == 3000


def test_writers_in_replica_role_are_seen(items: Engine) -> None:
    """Logical replication and restores write in a role in which ordinary triggers are silent."""
    items.owner("ALTER TABLE truth ADD PRIMARY KEY (id)")
    when(items, copy_complete=lambda: items.admin(f"SET session_replication_role = replica; {_WRITES}"))

    done = completed(items.rollback())

    assert outdated(items, done) == 0
    assert_exact(items, done)


# -- tampering

_TAMPER = {
    "disabled": "ALTER TABLE items DISABLE TRIGGER {update}; {write}",
    "disabled and enabled": "ALTER TABLE items DISABLE TRIGGER USER; {write}; ALTER TABLE items ENABLE TRIGGER USER",
    "enabled again the same": "ALTER TABLE items DISABLE TRIGGER {update}; {write};"
    "ALTER TABLE items ENABLE ALWAYS TRIGGER {update}",
    "dropped": "DROP TRIGGER {update} ON items; {write}",
    "rewritten": "ALTER TABLE items ALTER name TYPE varchar(99); {write}",
    "clustered": "{write}; CLUSTER items USING items_pkey",
}


@pytest.mark.parametrize("how", _TAMPER)
def test_tampered_with(items: Engine, how: str) -> None:
    """Whatever is done to triggers and table once the copy is complete, apply sees it, and the copy is put right."""

    def tamper() -> None:
        (found,) = items.query("SELECT quote_ident(tgname) AS t FROM pg_trigger WHERE tgname LIKE 'stepback%update'")
        write = "UPDATE items SET price = -1 WHERE id < 5; UPDATE truth SET price = -1 WHERE id < 5"
        for statement in _TAMPER[how].format(update=found["t"], write=write).split(";"):
            items.owner(statement)

    when(items, copy_complete=tamper)

    done = completed(items.rollback())

    assert outdated(items, done) == 1
    assert_exact(items, done)


def test_function_replaced(items: Engine) -> None:
    """A superuser who replaces the function is found out, too."""

    def tamper() -> None:
        (found,) = items.query("SELECT oid::regprocedure::text AS f FROM pg_proc WHERE proname LIKE 'stepback keep%'")
        items.admin(
            f"CREATE OR REPLACE FUNCTION {found['f']} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "UPDATE items SET price = -1 WHERE id < 5; UPDATE truth SET price = -1 WHERE id < 5"
        )

    when(items, copy_complete=tamper)

    done = completed(items.rollback())

    assert outdated(items, done) == 1
    assert_exact(items, done)


def test_error_in_the_trigger_lets_the_write_pass(items: Engine) -> None:
    """A write whose copy fails goes through, even if it is the only one; the run notices, and copies it after all."""

    def fail() -> None:
        (found,) = items.query("SELECT quarantine || '.' || quote_ident(copy) AS k FROM emergency_backup.online_copies")
        items.admin(f"ALTER TABLE {found['k']} ADD CONSTRAINT no CHECK (price <> 7777)")
        items.owner("UPDATE items SET price = 7777 WHERE id = 1; UPDATE truth SET price = 7777 WHERE id = 1")
        items.admin(f"ALTER TABLE {found['k']} DROP CONSTRAINT no")

    when(items, copy_complete=fail)

    done = completed(items.rollback())

    assert outdated(items, done) == 1
    assert_exact(items, done)


def test_trigger_that_always_fails(items: Engine) -> None:
    """Where the copy cannot be kept true, writes pass, the run fails, and nothing of it is left."""
    before = items.picture()

    def fail() -> None:
        (found,) = items.query("SELECT quarantine || '.' || quote_ident(copy) AS k FROM emergency_backup.online_copies")
        items.admin(f"ALTER TABLE {found['k']} ADD CONSTRAINT no CHECK (price <> 7777)")
        items.owner("UPDATE items SET price = 7777 WHERE id = 1")

    when(items, copy_kept=fail)

    failed = items.rollback()

    assert failed.state is State.FAILED, ended(failed)
    assert items.query("SELECT price FROM items WHERE id = 1") == [{"price": 7777}]
    items.owner("UPDATE items SET price = 1.5 WHERE id = 1")
    assert items.picture() == before
    assert_nothing_left(items)


def test_tampered_with_every_time(items: Engine) -> None:
    """A table that is rewritten before every apply is given up, with a reason."""

    def rewrite(point: str) -> None:
        if point == "apply_entered":
            items.owner("CLUSTER items USING items_pkey")

    items.at = rewrite

    failed = items.rollback()

    assert failed.error is not None
    assert failed.error.code == "copy_not_complete"
    assert outdated(items, failed) == 5
    assert_nothing_left(items)


# -- how it ends


def assert_nothing_left(engine: Engine) -> None:
    """See that no trigger, function, copy or schema of a run is left."""
    assert engine.query(_LEFT) == []
    assert engine.query("SELECT FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'") == []


def test_failing_gate_leaves_no_trigger(items: Engine) -> None:
    """A run that fails after the copy takes it away again, and the table is as it was."""
    items.plan(_PLAN, verify="SELECT false;", online_rows=0)
    before = items.picture()

    failed = items.rollback()

    assert failed.error is not None
    assert failed.error.code == "gate_failed"
    assert_nothing_left(items)
    assert items.picture() == before


def test_refused_late_leaves_no_trigger(items: Engine) -> None:
    """A catalog that changes after the copy is complete refuses the run, and nothing of it is left."""
    when(items, copy_complete="ALTER TABLE items RENAME COLUMN price TO cost")

    failed = items.rollback()

    assert failed.error is not None
    assert failed.error.code == "impact_changed"
    assert_nothing_left(items)


class Killed(BaseException):
    """Stands for a worker that is gone."""


def _kill(engine: Engine, point: str) -> Run:
    """Let a worker die at a point; return the run as it was left."""

    def at(passed: str) -> None:
        if passed == point:
            raise Killed

    engine.at = at
    command = engine.command()
    with pytest.raises(Killed):
        engine.carry_out(command)
    engine.at = lambda _point: None
    return engine.find(1)


def _sweep(engine: Engine) -> int:
    return Sweeper(engine.ledger, engine.settings, engine.installation).round()


@pytest.mark.parametrize("point", [point for point in CRASH_POINTS_PRESERVE if point != "chunk_copied"])
def test_swept_once_the_run_is_over(items: Engine, point: str) -> None:
    """What a worker that was killed at {point} leaves is taken away when its run is over, and not before."""
    before = items.picture()
    run = _kill(items, point)

    early = _sweep(items)
    with items.ledger.begin() as ledger:
        ledger.exec_driver_sql(
            "UPDATE ledger.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE run = 1"
        )
    late = _sweep(items)

    assert run.state is State.IN_PROGRESS
    assert (early, late) == (0, 0 if point == "preserve_entered" else 1)
    assert_nothing_left(items)
    assert items.picture() == before


def test_what_a_committed_run_needs_is_never_swept(items: Engine) -> None:
    """Not even if the row that tells of a copy were there still."""
    rows: list[dict[str, object]] = []
    when(items, copy_complete=lambda: rows.extend(items.query("SELECT * FROM emergency_backup.online_copies")))
    done = completed(items.rollback())
    told = rows[0]
    items.admin(
        "INSERT INTO emergency_backup.online_copies (installation, run, relation, source, quarantine, copy) VALUES"
        f" ('{told['installation']}', {done.run}, {told['relation']}, 'x', '{told['quarantine']}', '{told['copy']}')"
    )

    assert _sweep(items) == 0

    items.admin("DELETE FROM emergency_backup.online_copies")
    assert_exact(items, done)


def test_another_run_on_the_same_table_meanwhile(items: Engine) -> None:
    """Two runs may copy columns of one table at once; neither takes the other's triggers for the application's."""
    items.plan("ALTER TABLE items DROP COLUMN name;", online_rows=0, migration="other")
    others: list[Run] = []

    def other() -> None:
        items.at = lambda _point: None
        others.append(completed(items.rollback("other")))

    when(items, copy_complete=other)

    done = completed(items.rollback())

    assert_exact(items, done)
    completed(items.recover(others[0]))
    assert items.query("SELECT count(*) FROM items WHERE name = 'item ' || id") == [{"count": 3000}]


_SINCE = "SELECT since FROM emergency_backup.online_copies"


def test_rows_copied_again_end_the_short_comparison(items: Engine) -> None:
    """Who writes before the triggers are on has his rows copied by themselves: from then on every row is compared."""
    since: list[object] = []

    def look() -> None:
        since.append(items.query(_SINCE)[0]["since"])

    when(items, copy_made="UPDATE items SET note = 'late' WHERE id < 10", copy_kept=look, chunk_copied=look)
    note_late = "UPDATE truth SET note = 'late' WHERE id < 10"

    done = completed(items.rollback())

    items.owner(note_late)
    assert since[0] is not None
    assert since[1] is None
    assert_exact(items, done)


def test_missing_row_does_not_make_up_for_a_ghost(items: Engine) -> None:
    """One row too few and one too many are as many rows: where nothing else is proof, every row is compared."""

    def tamper() -> None:
        (told,) = items.query("SELECT quarantine, copy FROM emergency_backup.online_copies")
        copy = f'{told["quarantine"]}."{told["copy"]}"'
        items.admin(f"DELETE FROM {copy} WHERE id = 1; INSERT INTO {copy} (id) VALUES (999999)")
        items.admin("UPDATE emergency_backup.online_copies SET since = NULL")

    passed = when(items, copy_kept=tamper)

    done = completed(items.rollback())

    assert "chunk_copied" in passed
    assert_exact(items, done)


@pytest.mark.parametrize(
    "written",
    [
        "DELETE FROM items WHERE id = 7",
        "UPDATE items SET price = 1 WHERE id = 7",
        "UPDATE items SET price = 10.50 WHERE id = 7",
        "UPDATE items SET id = 70000 WHERE id = 7",
        "INSERT INTO items VALUES (70000, 'new', 1, 'new')",
        "DELETE FROM items WHERE id = 7; INSERT INTO items VALUES (70000, 'new', 1, 'new')",
    ],
)
def test_short_comparison_sees_what_was_written_before_the_triggers(items: Engine, written: str) -> None:
    """Whatever is written between copy and triggers is found by who wrote it, or by how many rows there are."""
    passed = when(items, copy_made=written, copy_complete=lambda: note_truth(items))

    done = completed(items.rollback())

    assert "chunk_copied" in passed
    assert_exact(items, done)
