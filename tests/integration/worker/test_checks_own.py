"""Checks of one's own: what they may do, what they may not, and what becomes of those that are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Engine, completed, not_ok

_ROW = "SELECT 'x' AS \"check\", 'ok' AS status, 1 AS count, NULL AS detail"


@pytest.fixture
def own(engine: Engine, tmp_path: Path) -> Path:
    """Give the target's folder of checks, empty, on a target with a table and functions of the application's."""
    engine.owner(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); CREATE SEQUENCE s;"
        "CREATE FUNCTION sneak() RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (3); RETURN ''ok''; END';"
        "CREATE FUNCTION unlock() RETURNS text LANGUAGE plpgsql AS 'BEGIN BEGIN SET transaction_read_only = off;"
        " INSERT INTO t VALUES (4); EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN ''ok''; END'"
    )
    engine.checks = tmp_path / "checks"
    engine.checks.mkdir()
    return engine.checks


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text, encoding="utf-8")


def test_own_files(engine: Engine, own: Path) -> None:
    """Own files are run beside those that come along, names in them mean what they mean to the application."""
    _write(
        own,
        b="SELECT 'rows of t' AS \"check\", 'warn' AS status, count(*) AS count, 'few' AS detail FROM t; -- done",
        a="SELECT 'sum' AS \"check\", 'fail' AS status, sum(a)::numeric AS count, NULL AS detail FROM t",
    )
    (own / "notes.txt").write_text("not SQL")

    done = engine.validate()

    assert not_ok(done) == {"sum": ("fail", 3, ""), "rows of t": ("warn", 2, "few")}
    steps = [step.step for step in done.steps]
    assert steps[-2:] == ["check a", "check b"]
    assert len(steps) == 12


def test_queries_that_a_query_gives(engine: Engine, own: Path) -> None:
    """A row with a query stands for the rows of that query; each fails by itself."""
    _write(
        own,
        each='SELECT n::text AS "check", NULL AS status, NULL AS count, NULL AS detail, format(\'SELECT %L AS "check",'
        " ''ok'' AS status, 1 / %s AS count, ''fine'' AS detail', n, n) AS query FROM generate_series(0, 1) AS n"
        " UNION ALL SELECT 'plain', 'ok', 0, '', NULL",
    )

    done = engine.validate()

    assert not_ok(done) == {"0": ("fail", None, "the server refused a statement (22012): DivisionByZero")}
    assert done.validation is not None
    assert str(done.validation["checks"]).count("'fine'") == 1


BROKEN = {
    "no SQL": ("SELEC 1", "is not valid SQL"),
    "nothing": ("-- later", "holds no statement"),
    "two": (f"{_ROW}; {_ROW}", "is not one SELECT"),
    "a change": (
        "DELETE FROM t RETURNING 'x' AS \"check\", 'ok' AS status, 1 AS count, NULL AS detail",
        "not one SELECT",
    ),
    "a change inside": (f"WITH gone AS (DELETE FROM t RETURNING a) {_ROW} FROM gone", "data-modifying"),
    "a new table": (f"{_ROW} INTO u", "INTO is not allowed"),
    "a function that writes": ("SELECT 'x' AS \"check\", sneak() AS status, 1 AS count, NULL AS detail", "read-only"),
    "a way around": ("SELECT 'x' AS \"check\", unlock() AS status, 1 AS count, NULL AS detail", "read-only"),
    "a sequence": ("SELECT 'x' AS \"check\", 'ok' AS status, nextval('s') AS count, NULL AS detail", "read-only"),
    "a row lock": (f"{_ROW} FROM t FOR UPDATE", "read-only"),
    "other columns": ("SELECT 1 AS one", "gives other columns"),
    "columns twice": (f"{_ROW}, 2 AS count", "gives other columns"),
    "no name": (_ROW.replace("'x'", "' '"), "without a name"),
    "no status": (_ROW.replace("'ok'", "'bad'"), "none of ok, warn, fail"),
    "no whole number": (_ROW.replace("1 AS", "1.5 AS"), "no whole number"),
    "no number at all": (_ROW.replace("1 AS", "'infinity'::timestamptz AS"), "no whole number"),
    "too many": (f"{_ROW} FROM generate_series(1, 20001)", "more than 20,000 rows"),
    "two in a query": (
        f"SELECT 'x' AS \"check\", '' AS status, 1 AS count, '' AS detail, $${_ROW}; COMMIT; DELETE FROM t$$ AS query",
        "is not one SELECT",
    ),
    "a query in a query": (f"{_ROW}, $$SELECT 1 AS query$$ AS query", "gives other columns"),
    "no such table": (f"{_ROW} FROM nowhere", "does not exist"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(engine: Engine, own: Path, text: str, says: str) -> None:
    """A file that is no check, or that would change something, is a check that fails; the others go on."""
    _write(own, broken=text, sound=_ROW.replace("'x'", "'sound'"))
    before = engine.picture()

    done = engine.validate()

    ((name, (status, _, detail)),) = not_ok(done).items()
    assert name in {"broken", "x"}
    assert status == "fail"
    assert says in detail
    assert done.validation is not None
    assert "'sound'" in str(done.validation)
    assert engine.picture() == before


def test_details_of_any_type(engine: Engine, own: Path) -> None:
    """Details and counts of any type are told as the server prints them, even what the driver could not read."""
    _write(
        own,
        a="SELECT 'a' AS \"check\", 'warn' AS status, 3.00 AS count, 'infinity'::timestamptz AS detail",
        b="SELECT 'b'::name AS \"check\", 'warn'::name AS status, 7::smallint AS count, ARRAY[1, 2] AS detail",
    )

    assert not_ok(engine.validate()) == {"a": ("warn", 3, "infinity"), "b": ("warn", 7, "{1,2}")}


def test_it_takes_too_long(engine: Engine, own: Path) -> None:
    """A check that sleeps past statement_timeout is cancelled by the server and fails."""
    _write(own, sleepy=f"{_ROW} FROM pg_sleep(30)")
    engine.limits = {"statement_timeout_ms": 1000}

    done = engine.validate()

    ((name, (status, _, detail)),) = not_ok(done).items()
    assert (name, status) == ("sleepy", "fail")
    assert "statement_timeout" in detail


def test_somebody_holds_the_table(engine: Engine, own: Path) -> None:
    """A check waits for a lock no longer than lock_timeout."""
    _write(own, rows=f"{_ROW} FROM t")
    engine.limits = {"lock_timeout_ms": 50}

    with engine.connect("goodbuy_app") as other, other.transaction():
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        done = engine.validate()

    assert not_ok(done) == {"rows": ("fail", None, "a lock was not granted in time")}


def test_ours_stay_ours(engine: Engine, own: Path) -> None:
    """An own file of the name of one that comes along is not run, and ours is."""
    _write(own, sequences=_ROW)

    done = engine.validate()

    ((name, (status, _, detail)),) = not_ok(done).items()
    assert (name, status) == ("own sequences", "fail")
    assert "another name" in detail
    assert done.validation is not None
    assert "'sequence public.migration_rollbacks_id_seq'" in str(done.validation)


def test_no_folder(engine: Engine, tmp_path: Path) -> None:
    """A folder that is not there is a check that fails: somebody thinks that it is looked at."""
    engine.checks = tmp_path / "nowhere"

    ((name, (status, _, detail)),) = not_ok(engine.validate()).items()

    assert (name, status) == ("own checks", "fail")
    assert "No such file" in detail


def test_not_text(engine: Engine, own: Path) -> None:
    """A file that is not UTF-8 is a check that fails."""
    (own / "latin.sql").write_bytes(b"-- caf\xe9")

    assert not_ok(engine.validate()) == {"latin": ("fail", None, "latin.sql is not UTF-8")}


def test_scope_can_be_read(engine: Engine, own: Path) -> None:
    """An own file may read what a run has touched, and is run after each rollback and recovery too."""
    _write(
        own,
        scope="SELECT 'scope' AS \"check\", 'warn' AS status, cardinality(current_setting('stepback.relations')::oid[])"
        " AS count, concat_ws(' ', current_setting('stepback.migrations'), current_setting('stepback.runs'),"
        " current_setting('stepback.after')) AS detail WHERE current_setting('stepback.relations') <> ''",
    )
    engine.plan("DROP TABLE t;")

    first = engine.rollback()
    back = engine.recover(first)

    assert not_ok(first) == {"scope": ("warn", 1, '{"m"} {"1"} 1')}
    assert not_ok(back) == {"scope": ("warn", 1, '{"m"} {"1"} 2')}
    assert not_ok(engine.validate("m")) == {"scope": ("warn", 1, '{"m"} {"1"} ')}
    assert not_ok(completed(engine.validate())) == {}
