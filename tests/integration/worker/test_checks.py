"""Every check that comes along, on a target where it holds and on one where it was broken for real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ledger.model import Run
from tests.harness import Engine, completed, not_ok
from worker import fingerprint

_ONE = "(SELECT id FROM businesses ORDER BY id LIMIT 1)"


@dataclass(frozen=True)
class Broken:
    """How a target is broken, and what the checks say of it: status and count by name."""

    by: str
    told: dict[str, tuple[str, int | None]]
    #: Who breaks it.
    role: str = "goodbuy_app"


BROKEN = {
    "title": Broken(
        f"UPDATE businesses SET title = ' ' WHERE id = {_ONE}", {"core table businesses: titles": ("fail", 1)}
    ),
    "email": Broken(
        "ALTER TABLE users ALTER email DROP NOT NULL; UPDATE users SET email = NULL",
        {"core table users: emails": ("fail", 16)},
    ),
    "status": Broken(
        f"ALTER TABLE businesses ALTER status DROP NOT NULL; UPDATE businesses SET status = NULL WHERE id = {_ONE}",
        {"core table businesses: statuses": ("fail", 1)},
    ),
    "no rows": Broken(
        "TRUNCATE businesses CASCADE; TRUNCATE users CASCADE",
        {"core table businesses: rows": ("warn", 0), "core table users: rows": ("warn", 0)},
    ),
    "trigger": Broken(
        "ALTER TABLE businesses DISABLE TRIGGER businesses_touch_updated_at",
        {"disabled triggers of public.businesses": ("fail", 1)},
    ),
    "trigger for replicas": Broken(
        "ALTER TABLE businesses ENABLE REPLICA TRIGGER businesses_touch_updated_at",
        {"disabled triggers of public.businesses": ("warn", 1)},
    ),
    "triggers of foreign keys": Broken(
        "ALTER TABLE evaluations DISABLE TRIGGER ALL",
        {"disabled triggers of public.evaluations": ("fail", 2)},
        role="postgres",
    ),
    "orphan": Broken(
        "SET session_replication_role = replica; INSERT INTO business_views (business_id) VALUES (gen_random_uuid())",
        {
            "foreign key business_views_business_id_fkey of public.business_views": ("fail", 1),
            "Orphaned business views": ("fail", 1),
        },
        role="postgres",
    ),
    "orphan without a key": Broken(
        "ALTER TABLE evaluations DROP CONSTRAINT evaluations_business_id_fkey, ALTER business_id DROP NOT NULL;"
        " UPDATE evaluations SET business_id = NULL WHERE id = (SELECT id FROM evaluations LIMIT 1)",
        {"Orphaned evaluations": ("fail", 1)},
    ),
    "key that is not validated": Broken(
        "ALTER TABLE inquiries DROP CONSTRAINT inquiries_buyer_id_fkey,"
        " ADD CONSTRAINT inquiries_buyer_id_fkey FOREIGN KEY (buyer_id) REFERENCES users (id) NOT VALID",
        {"foreign key inquiries_buyer_id_fkey of public.inquiries": ("fail", 0)},
    ),
    "constraint that is not validated": Broken(
        "ALTER TABLE price_alerts ADD CONSTRAINT c CHECK (below_price > 0) NOT VALID",
        {"unvalidated constraint c of public.price_alerts": ("fail", 1)},
    ),
    "domain that is not validated": Broken(
        "CREATE DOMAIN d AS int; ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID",
        {"unvalidated constraint c of public.d": ("fail", 1)},
    ),
    "sequence": Broken(
        "SELECT setval('business_views_id_seq', (SELECT max(id) - 3 FROM business_views))",
        {"sequence public.business_views_id_seq": ("fail", 3)},
    ),
    "sequence never called": Broken(
        "SELECT setval('business_views_id_seq', (SELECT max(id) FROM business_views), false)",
        {"sequence public.business_views_id_seq": ("fail", 1)},
    ),
    "sequence of a column called value": Broken(
        "CREATE TABLE t (value serial, behind int, next int); INSERT INTO t VALUES (7)",
        {"sequence public.t_value_seq": ("fail", 7)},
    ),
    "index that waits for its partitions": Broken(
        "CREATE TABLE parts (n int) PARTITION BY LIST (n); CREATE TABLE part PARTITION OF parts DEFAULT;"
        " CREATE INDEX pending ON ONLY parts (n)",
        {"invalid index public.pending": ("warn", 1)},
    ),
    "sequence that goes down": Broken(
        "CREATE SEQUENCE s INCREMENT -2; CREATE TABLE t (n bigint DEFAULT nextval('s'));"
        " INSERT INTO t SELECT FROM generate_series(1, 5); SELECT setval('s', -5)",
        {"sequence public.s": ("fail", 3)},
    ),
    "failed rollback": Broken(
        "INSERT INTO migration_rollbacks (migration_name, rollback_sql, rollback_status) VALUES"
        " ('a', '-', 'failed'), ('b', '-', 'in_progress')",
        {"rollbacks: failed": ("warn", 1), "rollbacks: in progress": ("warn", 1)},
        role="postgres",
    ),
}


def _told(run: Run) -> dict[str, tuple[str, int | None]]:
    """Return what does not hold, by name, without the details."""
    return {name: (status, count) for name, (status, count, _) in not_ok(run).items()}


def _checks(run: Run) -> dict[str, int | None]:
    """Return the count of each check."""
    assert run.validation is not None
    found = run.validation["checks"]
    assert isinstance(found, list)
    return {check["check"]: check["count"] for check in found if isinstance(check, dict)}  # type: ignore[misc]


def test_sound(sample_engine: Engine) -> None:
    """On a sound target every check is ok, and each foreign key, sequence and pair has its own."""
    done = completed(sample_engine.validate())

    found = _checks(done)
    assert done.validation is not None
    assert done.validation["ok"] is True
    assert found["foreign keys"] == sum(name.startswith("foreign key ") for name in found) == 14
    assert found["sequences"] == sum(name.startswith("sequence ") for name in found) == 4
    assert sum(name.startswith("Orphaned ") for name in found) == 3
    assert sum(name.startswith("core table ") for name in found) == 6
    assert (found["core table businesses: rows"], found["rollbacks: total"]) == (40, 0)


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_broken(sample_engine: Engine, case: Broken) -> None:
    """What is broken is named with its count, and nothing else is."""
    sample_engine.run_sql(case.role, case.by)

    done = sample_engine.validate()

    assert done.state == "completed"
    assert _told(done) == case.told
    assert done.validation is not None
    assert done.validation["ok"] is not any(status == "fail" for status, _ in case.told.values())


def test_invalid_index(sample_engine: Engine) -> None:
    """An index whose concurrent build failed is named."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        sample_engine.owner("CREATE UNIQUE INDEX CONCURRENTLY views_once ON business_views (business_id)")

    done = sample_engine.validate()

    assert _told(done) == {"invalid index public.views_once": ("fail", 1)}


def test_other_targets(engine: Engine) -> None:
    """On a target that is not the marketplace, tables of the same names are left alone, and everything else holds."""
    engine.owner(
        "CREATE TABLE users (email text); INSERT INTO users VALUES (NULL);"
        "CREATE TABLE business_views (business_id text); INSERT INTO business_views VALUES ('x');"
        "CREATE TABLE businesses (id int, title text)"
    )

    found = _checks(completed(engine.validate()))

    assert not [name for name in found if name.startswith(("core table", "Orphaned"))]


# -- quarantine and remnants ------------------------------------------------------

_MIGRATION = "complete_ai_schema"


def _kept(engine: Engine, run: Run, name: str) -> str:
    (found,) = {kept.inside for kept in engine.kept(run) if kept.name == name}
    assert found is not None
    return found


def test_quarantine_intact(sample_engine: Engine) -> None:
    """After a rollback every preserved table is looked at once, those of copied columns too, and nothing is amiss."""
    run = completed(sample_engine.rollback(_MIGRATION))

    found = _checks(completed(sample_engine.validate()))

    tables = {kept.inside: kept.rows for kept in sample_engine.kept(run) if kept.inside}
    named = {name.partition(": ")[2]: n for name, n in found.items() if name.startswith("quarantine of")}
    assert {name.replace('"', ""): rows for name, rows in tables.items()} == named
    assert len(named) == 6


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        ("UPDATE {} SET title = title || '.' WHERE id = (SELECT id FROM {} LIMIT 1)", ("fail", 30)),
        ("DELETE FROM {} WHERE id = (SELECT id FROM {} LIMIT 1)", ("fail", 29)),
        ("DROP TABLE {} CASCADE", ("fail", None)),
    ],
)
def test_quarantine_damaged(sample_engine: Engine, damage: str, status: tuple[str, int | None]) -> None:
    """A preserved table that a superuser changed or dropped is damaged or missing, and the check says which."""
    run = completed(sample_engine.rollback("add_health_alerts"))
    inside = _kept(sample_engine, run, "public.health_alerts")
    sample_engine.admin(damage.replace("{}", inside))

    done = sample_engine.validate()

    assert _told(done) == {f"quarantine of run {run.run}: {inside}".replace('"', ""): status}


def test_what_was_purged_is_not_missed(sample_engine: Engine) -> None:
    """A purge took it on purpose: no check asks where it is; what a selective recovery left behind is looked at."""
    purged = completed(sample_engine.rollback("add_health_alerts"))
    completed(sample_engine.purge(purged))
    chosen = completed(sample_engine.rollback("add_health_metrics_table"))
    some = completed(sample_engine.recover(chosen, conditions={"health_metrics": "confidence_level >= 80"}))

    done = completed(sample_engine.validate())

    assert not_ok(done) == {}
    (left,) = sample_engine.kept(some)
    assert f"quarantine of run {some.run}: {left.quarantine}.{left.relation}" in _checks(done)


def test_quarantine_type_missing(sample_engine: Engine) -> None:
    """A type that is not where it was put is missing."""
    run = completed(sample_engine.rollback("add_health_alerts"))
    (home,) = {kept.quarantine for kept in sample_engine.kept(run) if kept.kind == "type"}
    sample_engine.admin(f"ALTER TYPE {home}.alert_type_enum SET SCHEMA public")

    done = sample_engine.validate()

    assert _told(done) == {
        f"quarantine of run {run.run}: type public.alert_type_enum": ("fail", 1),
        "remnant type public.alert_type_enum": ("fail", 1),
    }


def test_checksum_is_that_of_the_fingerprint(engine: Engine) -> None:
    """The sum that the check takes is the one that was taken before, whatever the types and names of columns."""
    engine.owner(
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (b text COLLATE \"C\", \"A z\" text, c bytea, d float8,"
        ' e regclass, f timestamptz, g interval, h mood, i jsonb, j int[], "%s" text);'
        "INSERT INTO t SELECT 'x', NULL, '\\x00ff', n / 3.0, 't', now(), '1 day', 'a', '{\"k\": 1}', '{1,NULL}', '{}'"
        "  FROM generate_series(1, 5) AS n; CREATE TABLE empty (); INSERT INTO empty DEFAULT VALUES"
    )
    engine.plan("DROP TABLE t; DROP TABLE empty;")
    completed(engine.rollback())

    found = _checks(completed(engine.validate()))

    sums = engine.query("SELECT quarantine, relation, checksum FROM emergency_backup.preserved_objects WHERE rows > 0")
    assert len(sums) == 2
    for row in sums:
        inside = f"{row['quarantine']}.{row['relation']}"
        assert found[f"quarantine of run 1: {inside}"] in {1, 5}
        assert fingerprint.of_table(engine.session, inside).checksum == row["checksum"]


@pytest.mark.parametrize(
    ("again", "label"),
    [
        ("CREATE TABLE health_metrics (id int)", "table public.health_metrics"),
        ("CREATE TYPE health_trajectory AS ENUM ('x')", "type public.health_trajectory"),
        (
            "ALTER TABLE businesses ADD COLUMN auto_sync_enabled boolean",
            "table column public.businesses.auto_sync_enabled",
        ),
    ],
)
def test_remnants(sample_engine: Engine, again: str, label: str) -> None:
    """A name that a completed rollback removed and that is there again is named; names that only look alike are not."""
    sample_engine.owner("CREATE TABLE health_metrics_archive (health_score_enabled boolean, email text)")
    completed(sample_engine.rollback(_MIGRATION))
    sample_engine.owner(again)

    done = sample_engine.validate()

    assert _told(done) == {f"remnant {label}": ("fail", 1)}


def test_applied_again(sample_engine: Engine) -> None:
    """A migration that was applied and registered again leaves no remnants, nor does one that was recovered."""
    first = completed(sample_engine.rollback("add_health_alerts"))
    completed(sample_engine.recover(first))
    completed(sample_engine.validate())
    completed(sample_engine.rollback("add_health_alerts"))
    sample_engine.owner(
        "CREATE TABLE health_alerts (id int);"
        "INSERT INTO migration_rollbacks (migration_name, rollback_sql) VALUES ('add_health_alerts', 'DROP TABLE t')"
    )

    done = sample_engine.validate()

    assert _told(done) == {}


def test_replaced_by_the_run(engine: Engine) -> None:
    """What a rollback itself puts in the place of what it removes, made or renamed, is no remnant."""
    engine.owner(
        "CREATE TABLE t (a int, b int); CREATE TABLE old_t (a int); CREATE VIEW v AS SELECT 1 AS one;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE w (a int PRIMARY KEY, b int)"
    )
    engine.plan(
        "DROP TABLE t; ALTER TABLE old_t RENAME TO t; DROP VIEW v; CREATE VIEW v AS SELECT 2 AS one;"
        "DROP FUNCTION f(); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2';"
        "ALTER TABLE w DROP COLUMN b; ALTER TABLE w ADD COLUMN b text;"
    )

    done = completed(engine.rollback())

    assert _checks(done)["remnants"] == 4
    assert _told(engine.validate()) == {}


def test_packaged_files_begin_with_what_they_do() -> None:
    """Every file of checks says its effect, its locks, and where it is tested."""
    folder = Path(__file__).parents[3] / "sql" / "checks"
    files = sorted(folder.glob("*.sql"))

    assert len(files) == 10
    for file in files:
        head = file.read_text(encoding="utf-8").partition("\n\n")[0]
        assert all(word in head for word in ("-- Effect:", "-- Locks:", "-- Transactional:", "-- Verified by:")), file


def test_sequence_that_fills_nothing(sample_engine: Engine) -> None:
    """A column may own a sequence and take its values from another: how far the first one got means nothing."""
    sample_engine.owner(
        "CREATE TABLE t (n smallserial); CREATE SEQUENCE other;"
        "ALTER TABLE t ALTER n TYPE bigint, ALTER n SET DEFAULT nextval('other');"
        "INSERT INTO t SELECT FROM generate_series(1, 9)"
    )

    done = completed(sample_engine.validate())

    assert _told(done) == {}
    assert "sequence public.other" in _checks(done)
    assert "sequence public.t_n_seq" not in _checks(done)
