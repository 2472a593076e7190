"""Rows that a plan had changed come back and meet newer ones: the policy says which wins, and none is ever lost."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from ledger.model import Policy, Run
from tests.harness import Engine, completed, ended

_ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, n int); INSERT INTO orders SELECT i, i FROM generate_series(1, 6) AS i"
)
_PLAN = "UPDATE orders SET n = n + 100 WHERE id <= 4; DELETE FROM orders WHERE id > 4;"
#: 1 and 5 are newer; 2 and 6 are gone, the one from among the changed, the other as the plan left it.
_SINCE = "UPDATE orders SET n = 7 WHERE id = 1; DELETE FROM orders WHERE id = 2; INSERT INTO orders VALUES (5, 55)"


def _rows(engine: Engine) -> dict[int, int]:
    return {row["id"]: row["n"] for row in engine.query("SELECT id, n FROM orders")}


def _told(run: Run) -> Any:  # noqa: ANN401 - whatever was written down
    assert run.result is not None
    return run.result.get("rows")


def _kept(engine: Engine, run: Run) -> list[dict[str, Any]]:
    """Return the rows that a recovery keeps, without what tells their place."""
    found = [
        row
        for kept in engine.kept(run)
        for row in engine.query(f"SELECT * FROM {kept.inside} ORDER BY 1")
        if kept.inside is not None
    ]
    return [{name: value for name, value in row.items() if name != "stepback order"} for row in found]


def _schemas(engine: Engine) -> int:
    (found,) = engine.query("SELECT count(*) AS n FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'")
    count: int = found["n"]
    return count


def test_preserved_rows_take_the_place_of_newer_ones(engine: Engine) -> None:
    """With `overwrite` every row is as it was before the rollback; what stood there is kept, and comes back itself."""
    engine.owner(_ORDERS)
    engine.plan(_PLAN)
    run = completed(engine.rollback())
    engine.owner(_SINCE)
    newer = _rows(engine)

    recovered = completed(engine.recover(run, policy=Policy.OVERWRITE))

    assert _rows(engine) == {id_: id_ for id_ in range(1, 7)}
    assert _told(recovered) == [
        {"table": "public.orders", "kept": 4, "not_back": 0, "overwritten": 1},
        {"table": "public.orders", "kept": 2, "not_back": 0, "overwritten": 1},
    ]
    assert sorted((row["id"], row["n"]) for row in _kept(engine, recovered)) == [(1, 7), (5, 55)]

    again = completed(engine.recover(recovered))

    assert {id_: n for id_, n in _rows(engine).items() if id_ in (1, 5)} == {1: newer[1], 5: newer[5]}
    assert [told["not_back"] for told in _told(again)] == [0, 0]


def test_what_was_overwritten_and_changed_again_stays(engine: Engine) -> None:
    """Newer rows that were kept come back only where nobody has touched the row since the recovery."""
    engine.owner(_ORDERS)
    engine.plan(_PLAN)
    run = completed(engine.rollback())
    engine.owner(_SINCE)
    recovered = completed(engine.recover(run, policy=Policy.OVERWRITE))

    engine.owner("UPDATE orders SET n = 500 WHERE id = 5")
    again = completed(engine.recover(recovered))

    assert {id_: n for id_, n in _rows(engine).items() if id_ in (1, 5)} == {1: 7, 5: 500}
    assert sorted(told["not_back"] for told in _told(again)) == [0, 1]


def test_preserved_rows_are_put_aside_for_review(engine: Engine) -> None:
    """With `aside` newer rows stay, and each preserved one lies beside the one in its place; then it may be taken."""
    engine.owner(_ORDERS)
    engine.plan(_PLAN)
    run = completed(engine.rollback())
    engine.owner(_SINCE)

    recovered = completed(engine.recover(run, policy=Policy.ASIDE))

    assert _rows(engine) == {1: 7, 3: 3, 4: 4, 5: 55, 6: 6}
    assert _told(recovered) == [
        {"table": "public.orders", "kept": 4, "not_back": 2, "aside": 2},
        {"table": "public.orders", "kept": 2, "not_back": 1, "aside": 1},
    ]
    assert sorted(_kept(engine, recovered), key=lambda row: row["id"]) == [
        {"stepback event": "UPDATE", "stepback now": {"id": 1, "n": 7}, "id": 1, "n": 1},
        {"stepback event": "DELETE", "stepback now": None, "id": 2, "n": 2},
        {"stepback event": "UPDATE", "stepback now": {"id": 5, "n": 55}, "id": 5, "n": 5},
    ]

    completed(engine.recover(recovered))

    assert _rows(engine) == {id_: id_ for id_ in range(1, 7)}


@pytest.mark.parametrize("policy", Policy)
def test_without_newer_rows_nothing_is_kept(engine: Engine, policy: Policy) -> None:
    """Where no row meets a newer one, every policy gives the same, and leaves nothing behind but what the run kept."""
    engine.owner(_ORDERS)
    engine.plan(_PLAN)
    before = engine.picture()
    run = completed(engine.rollback())
    schemas = _schemas(engine)

    recovered = completed(engine.recover(run, policy=policy))

    assert engine.picture() == before
    assert engine.kept(recovered) == []
    assert _schemas(engine) == schemas
    assert [told["not_back"] for told in _told(recovered)] == [0, 0]


_AWKWARD = (
    'CREATE TABLE "Ev ent" (event int, place text, now text, kept int, half jsonb,'
    " ended int GENERATED ALWAYS AS IDENTITY, made int GENERATED ALWAYS AS (kept * 2) STORED,"
    ' "%s" text, PRIMARY KEY (event, place));'
    'INSERT INTO "Ev ent" (event, place, now, kept, half, "%s")'
    " SELECT i, 'p' || i, 'now', i, '{\"a\": 1}', NULL FROM generate_series(1, 4) AS i"
)


@pytest.mark.parametrize("policy", Policy)
def test_columns_with_the_names_of_ours(engine: Engine, policy: Policy) -> None:
    """Tables may have columns with the names that the queries use, generated ones, and some added since."""
    engine.owner(_AWKWARD)
    engine.plan('UPDATE "Ev ent" SET now = \'then\', kept = 0; DELETE FROM "Ev ent" WHERE event = 4;')
    run = completed(engine.rollback())

    engine.owner(
        'UPDATE "Ev ent" SET now = \'newer\' WHERE event = 1; ALTER TABLE "Ev ent" ADD COLUMN more int DEFAULT 5'
    )
    recovered = completed(engine.recover(run, policy=policy))

    found = engine.query('SELECT event, now, kept, made, ended, more FROM "Ev ent" ORDER BY event')
    first = ("newer", 0, 0) if policy is not Policy.OVERWRITE else ("now", 1, 2)
    assert [tuple(row.values()) for row in found] == [
        (1, *first, 1, 5),
        *((i, "now", i, 2 * i, i, 5) for i in range(2, 5)),
    ]
    assert len(_kept(engine, recovered)) == (0 if policy is Policy.SKIP else 1)


def test_column_that_is_gone_since(engine: Engine) -> None:
    """Rows cannot get back a value of a column that somebody has dropped: refused, by name, and nothing is touched."""
    engine.owner("CREATE TABLE orders (id int PRIMARY KEY, n int, m int); INSERT INTO orders VALUES (1, 1, 1)")
    engine.plan("UPDATE orders SET n = 2;")
    run = completed(engine.rollback())

    engine.owner("ALTER TABLE orders DROP COLUMN m")
    refused = engine.recover(run)

    assert refused.error is not None
    assert refused.error.code == "conflict"
    assert "public.orders has lost m" in refused.error.message
    assert engine.query("SELECT * FROM orders") == [{"id": 1, "n": 2}]


def test_what_is_unique_beside_the_key_stands_in_the_way(engine: Engine) -> None:
    """A preserved row whose place is taken by another one's value is left out, named, and stays preserved."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE); INSERT INTO users VALUES (1, 'a'), (2, 'b')"
    )
    engine.plan("UPDATE users SET mail = 'x' || id;")
    run = completed(engine.rollback())

    engine.owner("UPDATE users SET mail = 'z' WHERE id = 1; INSERT INTO users VALUES (9, 'a')")
    recovered = engine.recover(run, policy=Policy.OVERWRITE)

    assert recovered.state == "completed", ended(recovered)
    result: Any = recovered.result
    assert [left["step"] for left in result["left_out"]] == ["give back rows public.users"]
    assert engine.query("SELECT * FROM users ORDER BY id") == [
        {"id": 1, "mail": "z"},
        {"id": 2, "mail": "x2"},
        {"id": 9, "mail": "a"},
    ]
    assert engine.kept(recovered) == []


def test_rows_that_refer_to_what_is_overwritten(engine: Engine) -> None:
    """A value that other rows refer to, ON UPDATE CASCADE: nothing of them changes unseen."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY, code text UNIQUE); INSERT INTO users VALUES (1, 'a');"
        "CREATE TABLE orders (id int PRIMARY KEY, n int, code text REFERENCES users (code) ON UPDATE CASCADE)"
    )
    engine.plan("UPDATE users SET code = 'b';")
    run = completed(engine.rollback())

    engine.owner("UPDATE users SET code = 'c'; INSERT INTO orders VALUES (1, 1, 'c')")
    before = engine.picture()
    recovered = engine.recover(run, policy=Policy.OVERWRITE)

    assert recovered.error is not None
    assert recovered.error.code == "would_lose_data", ended(recovered)
    assert engine.picture() == before


@pytest.mark.parametrize("policy", Policy)
def test_writers_that_go_on(engine: Engine, policy: Policy) -> None:
    """Whatever was committed last about a row is there, or is kept by the recovery that put another in its place."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY, n int);"
        "INSERT INTO orders SELECT i, 0 FROM generate_series(1, 50) AS i"
    )
    engine.plan("UPDATE orders SET n = -1;")
    run = completed(engine.rollback())
    last: dict[int, int] = {}
    ended_ = threading.Event()

    def write() -> None:
        with psycopg.connect(engine.url, autocommit=True) as conn:
            number = 0
            while not ended_.is_set() or number < 100:
                number += 1
                conn.execute("UPDATE orders SET n = %s WHERE id = %s", (number, number % 40 + 1))
                last[number % 40 + 1] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(last) < 40:
            ended_.wait(0.01)
        recovered = completed(engine.recover(run, policy=policy))
    finally:
        ended_.set()
        writer.join()

    now, kept = _rows(engine), {row["id"]: row["n"] for row in _kept(engine, recovered)}
    gave_way = {id_: n for id_, n in last.items() if now[id_] != n}
    if policy is Policy.OVERWRITE:
        assert gave_way == {id_: n for id_, n in kept.items() if id_ in gave_way}
        assert {now[id_] for id_ in gave_way} <= {0}
    else:
        assert gave_way == {}
    assert {now[id_] for id_ in range(41, 51)} == {0}
