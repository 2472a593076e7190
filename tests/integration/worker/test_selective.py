"""A selective recovery: rows that meet a condition come back, all others stay preserved and are counted."""

from __future__ import annotations

import pytest

from ledger.model import Run, State
from tests.harness import Engine, completed, ended

_ORDERS = (
    "CREATE TYPE mood AS ENUM ('fine', 'bad');"
    "CREATE TABLE shops (id int PRIMARY KEY, open bool); INSERT INTO shops VALUES (1, true), (2, false);"
    "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int REFERENCES shops, score int,"
    " mood mood DEFAULT 'fine', twice int GENERATED ALWAYS AS (score * 2) STORED);"
    "INSERT INTO orders (shop, score) SELECT 1 + i % 2, nullif(i, 50) FROM generate_series(1, 100) AS i"
)


def _dropped(engine: Engine) -> Run:
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders; DROP TYPE mood;")
    return completed(engine.rollback())


def _ids(engine: Engine, table: str = "orders") -> list[int]:
    return [row["id"] for row in engine.query(f"SELECT id FROM {table} ORDER BY id")]


def test_only_what_meets_the_condition_comes_back(engine: Engine) -> None:
    """The condition may speak of other tables; the rest is preserved, counted, and comes back when it is asked for."""
    run = _dropped(engine)
    told = "score >= 81 AND shop IN (SELECT id FROM shops WHERE open)"

    some = completed(engine.recover(run, conditions={"orders": told}, report="SELECT count(*) AS n FROM orders"))

    wanted = [i for i in range(81, 101) if i % 2 == 0]
    assert _ids(engine) == wanted
    assert some.result is not None
    assert some.result["tables"] == [
        {"table": "public.orders", "condition": told, "recovered": len(wanted), "left": 100 - len(wanted)}
    ]
    assert some.result["report"] == {"n": str(len(wanted))}
    (left,) = engine.kept(some)
    assert left.rows == 100 - len(wanted)
    completed(engine.recover(some))
    assert _ids(engine) == list(range(1, 101))
    assert engine.query("SELECT count(*) FROM orders WHERE twice = score * 2") == [{"count": 99}]


def test_a_row_of_which_nobody_can_tell_stays(engine: Engine) -> None:
    """Where the condition is NULL the row is not chosen, and not lost."""
    run = _dropped(engine)

    some = completed(engine.recover(run, conditions={"public.orders": "orders.score > 0"}))

    assert 50 not in _ids(engine)
    (left,) = engine.kept(some)
    assert _ids(engine, left.inside or "") == [50]


def test_everything_and_nothing(engine: Engine) -> None:
    """A condition that all rows meet leaves none behind; one that none meets brings an empty table back."""
    run = _dropped(engine)
    none = completed(engine.recover(run, conditions={"orders": "false"}))
    assert _ids(engine) == []
    completed(engine.recover(none))
    assert len(_ids(engine)) == 100

    again = completed(engine.rollback())
    completed(engine.recover(again, conditions={"orders": "true"}))
    assert len(_ids(engine)) == 100


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"shops": "true"}, "no table that comes back"),
        ({"orders": "true; DROP TABLE shops"}, "not an SQL expression"),
        ({"orders": "true) ORDER BY (1"}, "more than one SQL expression"),
        ({"orders": ""}, "not an SQL expression"),
        ({"orders": "nonsense = 1"}, "does not exist"),
        ({"orders": "wipe()"}, "not preserved"),
        ({"orders": "score / 0 > 1"}, "22012"),
    ],
)
def test_what_is_no_condition_changes_nothing(engine: Engine, conditions: dict[str, str], says: str) -> None:
    """A condition that is none, or that does more than look, ends the recovery before anything has come back."""
    run = _dropped(engine)
    engine.owner(
        "CREATE FUNCTION wipe() RETURNS bool LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE shops SET open = NOT open; RETURN true; END'"
    )
    before = engine.picture()

    assert says in ended(engine.recover(run, conditions=conditions))

    assert engine.picture() == before
    completed(engine.recover(run))
    assert len(_ids(engine)) == 100


def test_a_table_whose_policies_bind_its_owner(engine: Engine) -> None:
    """Row-level security could hide rows from the choice: refused, and the whole table comes back."""
    run_as = "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY;"
    engine.owner(_ORDERS + ";" + run_as + "CREATE POLICY few ON orders USING (id < 3)")
    engine.plan("DROP TABLE orders;")
    run = completed(engine.rollback())

    assert "policies bind its owner" in ended(engine.recover(run, conditions={"orders": "id > 90"}))

    assert engine.recover(run).state is State.COMPLETED
    assert len(_ids(engine)) == 100
