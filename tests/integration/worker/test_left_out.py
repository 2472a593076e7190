"""Rows written since may break a rule that was dropped: all else comes back, and the run says what did not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ledger.model import Run, State
from tests.harness import Engine, completed

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int, CONSTRAINT few CHECK (n < 100)); CREATE INDEX on_n ON orders (n);"
)


@dataclass(frozen=True)
class Rule:
    """A rule that a plan drops, rows that break it, and what makes them keep it again."""

    name: str
    given: str
    plan: str
    since: str
    mended: str
    #: What is left out, as the catalog knows it.
    left: str


CASES = [
    Rule(
        "UNIQUE",
        "ALTER TABLE orders ADD CONSTRAINT once UNIQUE (n); INSERT INTO orders VALUES (1, 1)",
        "ALTER TABLE orders DROP CONSTRAINT once; DROP INDEX on_n;",
        "INSERT INTO orders VALUES (2, 1)",
        "DELETE FROM orders WHERE id = 2",
        "once",
    ),
    Rule(
        "PRIMARY KEY",
        "INSERT INTO orders VALUES (1, 1)",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey; DROP INDEX on_n;",
        "INSERT INTO orders VALUES (1, 1)",
        "DELETE FROM orders WHERE ctid = (SELECT max(ctid) FROM orders)",
        "orders_pkey",
    ),
    Rule(
        "a unique index",
        "CREATE UNIQUE INDEX once ON orders (n); INSERT INTO orders VALUES (1, 1)",
        "DROP INDEX once; DROP INDEX on_n;",
        "INSERT INTO orders VALUES (2, 1)",
        "DELETE FROM orders WHERE id = 2",
        "once",
    ),
    Rule(
        "EXCLUDE",
        "ALTER TABLE orders ADD CONSTRAINT apart EXCLUDE USING gist (int4range(n, n + 5) WITH &&);"
        " INSERT INTO orders VALUES (1, 1)",
        "ALTER TABLE orders DROP CONSTRAINT apart; DROP INDEX on_n;",
        "INSERT INTO orders VALUES (2, 3)",
        "DELETE FROM orders WHERE id = 2",
        "apart",
    ),
    Rule(
        "CHECK",
        "INSERT INTO orders VALUES (1, 1)",
        "ALTER TABLE orders DROP CONSTRAINT few; DROP INDEX on_n;",
        "INSERT INTO orders VALUES (2, 1000)",
        "DELETE FROM orders WHERE id = 2",
        "few",
    ),
]


def _rules(engine: Engine) -> set[str]:
    return {
        row["name"]
        for row in engine.query(
            "SELECT conname AS name FROM pg_constraint WHERE conrelid = 'orders'::regclass"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'orders'::regclass"
        )
    }


def _left_out(run: Run) -> list[str]:
    assert run.state is State.COMPLETED
    assert run.result is not None
    told = [entry["step"] for entry in run.result["left_out"]]  # type: ignore[index, union-attr, call-overload]
    assert told == [step.step for step in run.steps if step.outcome == "left_out"]
    return told


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broken_rule_is_left_out_and_the_rest_comes_back(engine: Engine, case: Rule) -> None:
    """It is named, it stays preserved, and when the rows are mended another recovery brings it back."""
    engine.owner(_ORDERS + case.given)
    before = engine.picture()
    engine.plan(case.plan)
    run = completed(engine.rollback())
    engine.owner(case.since)

    first = engine.recover(run)

    (left,) = _left_out(first)
    assert case.left in left
    assert case.left not in _rules(engine)
    assert "on_n" in _rules(engine)
    assert engine.registry() == ["recovered"]
    engine.owner(case.mended)
    second = completed(engine.recover(run))
    assert _left_out(second) == []
    assert engine.picture() == before


def test_not_null_comes_back_only_if_every_row_has_a_value(engine: Engine) -> None:
    """A row inserted since has no value for a column that was NOT NULL: the column is back, the rule is named."""
    engine.owner("CREATE TABLE orders (id int PRIMARY KEY, c int NOT NULL); INSERT INTO orders VALUES (1, 10)")
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    run = completed(engine.rollback())
    engine.owner("INSERT INTO orders VALUES (2)")

    (left,) = _left_out(engine.recover(run))

    assert "c" in left
    assert engine.query("SELECT id, c FROM orders ORDER BY id") == [{"id": 1, "c": 10}, {"id": 2, "c": None}]


def test_a_key_that_refers_to_what_was_left_out_is_left_out_too(engine: Engine) -> None:
    """Without the UNIQUE that it refers to a foreign key cannot be: both are named, both come back later."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY, n int CONSTRAINT once UNIQUE);"
        "CREATE TABLE lines (n int CONSTRAINT to_order REFERENCES orders (n)); INSERT INTO orders VALUES (1, 1)"
    )
    before = engine.picture()
    engine.plan("ALTER TABLE orders DROP CONSTRAINT once CASCADE;")
    run = completed(engine.rollback())
    engine.owner("INSERT INTO orders VALUES (2, 1)")

    assert len(_left_out(engine.recover(run))) == 2

    engine.owner("DELETE FROM orders WHERE id = 2")
    completed(engine.recover(run))
    assert engine.picture() == before
