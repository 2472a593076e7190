"""Between a rollback and its recovery the application goes on: newer rows stay, and get what they would have got."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ledger.model import State
from tests.harness import Engine, completed, ended

_GIVEN = "CREATE TABLE orders (id int PRIMARY KEY, n int, {column}); INSERT INTO orders {rows};"
_MEANWHILE = (
    "INSERT INTO orders (id, n) VALUES (5, 50), (6, 60);"
    "DELETE FROM orders WHERE id = 1; UPDATE orders SET n = 99 WHERE id = 2"
)


@dataclass(frozen=True)
class Since:
    """A column, its values in rows 1 to 4, and what rows 2 to 6 must hold in the end."""

    name: str
    column: str
    values: str
    expected: str


CASES = [
    Since("a default", "c text DEFAULT 'new'", "'a', 'b', NULL, 'd'", "'b', NULL, 'd', 'new', 'new'"),
    Since("no default", "c text", "'a', 'b', NULL, 'd'", "'b', NULL, 'd', NULL, NULL"),
    Since("NOT NULL", "c int NOT NULL DEFAULT 7", "1, 2, 3, 4", "2, 3, 4, 7, 7"),
    Since("a function", "c text DEFAULT upper('x' || 1)", "'a', NULL, 'c', 'd'", "NULL, 'c', 'd', 'X1', 'X1'"),
    Since("an enum", "c mood NOT NULL DEFAULT 'ok'", "'sad', 'sad', 'ok', 'sad'", "'sad', 'ok', 'sad', 'ok', 'ok'"),
    Since("a domain's default", "c share", "'1', '2', NULL, '4'", "'2', NULL, '4', '9', '9'"),
    Since("a strict domain", "c strict", "'1', '2', '3', '4'", "'2', '3', '4', '8', '8'"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_newer_rows_get_the_default_and_older_ones_their_values(engine: Engine, case: Since) -> None:
    """Rows inserted since get the column's default, deleted ones stay away, and an UPDATE since is kept."""
    engine.owner(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN share AS text DEFAULT '9';"
        "CREATE DOMAIN strict AS text NOT NULL DEFAULT '8'"
    )
    rows = f"SELECT id, id * 10, c FROM unnest(ARRAY[1, 2, 3, 4], ARRAY[{case.values}]) AS t (id, c)"
    kind = case.column.split()[1]
    rows = rows.replace("id * 10, c", f"id * 10, c::{kind}")
    engine.owner(_GIVEN.format(column=case.column, rows=rows))
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    run = completed(engine.rollback())

    engine.owner(_MEANWHILE)
    recovered = completed(engine.recover(run))

    assert recovered.result is not None
    assert recovered.result["columns"] == [{"column": "public.orders.c", "gone": 1}]
    assert engine.query("SELECT id, n FROM orders ORDER BY id") == [
        {"id": 2, "n": 99},
        {"id": 3, "n": 30},
        {"id": 4, "n": 40},
        {"id": 5, "n": 50},
        {"id": 6, "n": 60},
    ]
    same = engine.query(
        f"SELECT array_agg(c::text ORDER BY id) IS NOT DISTINCT FROM ARRAY[{case.expected}]::text[] AS same FROM orders"
    )
    assert same == [{"same": True}], engine.query("SELECT * FROM orders ORDER BY id")


def test_volatile_default_is_computed_for_each_newer_row(engine: Engine) -> None:
    """A default that is different every time is different for every newer row, and older rows keep theirs."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY, c uuid DEFAULT gen_random_uuid()); INSERT INTO orders VALUES (1), (2)"
    )
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    before = engine.query("SELECT c FROM orders WHERE id = 2")
    run = completed(engine.rollback())

    engine.owner("INSERT INTO orders SELECT generate_series(3, 12)")
    completed(engine.recover(run))

    assert engine.query("SELECT count(DISTINCT c) FROM orders") == [{"count": 12}]
    assert engine.query("SELECT c FROM orders WHERE id = 2") == before


def test_newer_row_that_could_hold_nothing_is_a_conflict(engine: Engine) -> None:
    """A domain that is NOT NULL leaves newer rows no value: refused before anything is touched, and said so."""
    engine.owner(
        "CREATE DOMAIN sure AS int NOT NULL;"
        "CREATE TABLE orders (id int PRIMARY KEY, c sure, d text); INSERT INTO orders VALUES (1, 1, 'x')"
    )
    engine.plan("ALTER TABLE orders DROP COLUMN c, DROP COLUMN d;")
    run = completed(engine.rollback())
    engine.owner("INSERT INTO orders VALUES (2)")
    before = engine.picture()

    refused = engine.recover(run)

    assert ended(refused).startswith("refused: conflict: ")
    assert "1 row(s) inserted since, and column c is NOT NULL" in ended(refused)
    assert engine.picture() == before
    engine.owner("DELETE FROM orders WHERE id = 2")
    completed(engine.recover(run))


def test_newer_rows_that_break_a_key_of_the_column(engine: Engine) -> None:
    """Two newer rows with one default break a UNIQUE: the column comes back, the key when they are mended."""
    engine.owner("CREATE TABLE orders (id int PRIMARY KEY, c int UNIQUE DEFAULT 0); INSERT INTO orders VALUES (1, 1)")
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    run = completed(engine.rollback())
    engine.owner("INSERT INTO orders VALUES (2), (3)")

    first = engine.recover(run)

    assert first.state is State.COMPLETED
    assert [step.step for step in first.steps if step.outcome == "left_out"] == [
        "make again table constraint orders_c_key on public.orders"
    ]
    engine.owner("DELETE FROM orders WHERE id = 3")
    completed(engine.recover(run))
    assert engine.query("SELECT id, c FROM orders ORDER BY id") == [{"id": 1, "c": 1}, {"id": 2, "c": 0}]


def test_row_whose_key_changed_counts_as_new(engine: Engine) -> None:
    """A row with another key is another row: it gets the default, and the old value stays in quarantine."""
    engine.owner("CREATE TABLE orders (id int PRIMARY KEY, c int DEFAULT 7); INSERT INTO orders VALUES (1, 1), (2, 2)")
    engine.plan("ALTER TABLE orders DROP COLUMN c;")
    run = completed(engine.rollback())
    (copy,) = {row.inside for row in engine.kept(run)}

    engine.owner("UPDATE orders SET id = 9 WHERE id = 2")
    completed(engine.recover(run))

    assert engine.query("SELECT id, c FROM orders ORDER BY id") == [{"id": 1, "c": 1}, {"id": 9, "c": 7}]
    assert engine.query(f"SELECT c FROM {copy} WHERE id = 2") == [{"c": 2}]


def test_preserved_rows_hear_no_cascade(engine: Engine) -> None:
    """Rows in quarantine outlive those that they refer to; they are set aside, counted, and the key holds again."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2);"
        "CREATE TABLE orders (id int PRIMARY KEY, u int REFERENCES users ON DELETE CASCADE);"
        "INSERT INTO orders VALUES (1, 1), (2, 2)"
    )
    engine.plan("DROP TABLE orders;")
    run = completed(engine.rollback())

    engine.owner("DELETE FROM users WHERE id = 2")
    recovered = completed(engine.recover(run))

    (aside,) = engine.kept(recovered)
    assert aside.rows == 1
    assert engine.query(f"SELECT * FROM {aside.inside}") == [{"id": 2, "u": 2}]
    assert recovered.result is not None
    assert recovered.result["set_aside"] == [
        {"table": "public.orders", "rows": 1, "key": "orders_u_fkey", "in": aside.inside}
    ]
    assert engine.query("SELECT id FROM orders ORDER BY id") == [{"id": 1}]
    assert _validated(engine, "orders_u_fkey")
    # When there is somebody to refer to again, they can be brought back by themselves.
    engine.owner("INSERT INTO users VALUES (2)")
    completed(engine.recover(recovered))
    assert engine.query("SELECT * FROM orders ORDER BY id") == [{"id": 1, "u": 1}, {"id": 2, "u": 2}]


def _validated(engine: Engine, constraint: str) -> bool:
    (row,) = engine.query(f"SELECT convalidated FROM pg_constraint WHERE conname = '{constraint}'")
    return bool(row["convalidated"])


@pytest.mark.parametrize(
    ("key", "left"),
    [
        ("FOREIGN KEY (a, b) REFERENCES users (a, b)", [1, 3, 4]),
        ("FOREIGN KEY (a, b) REFERENCES users (a, b) MATCH FULL", [1, 4]),
    ],
)
def test_orphans_of_a_key_over_two_columns(engine: Engine, key: str, left: list[int]) -> None:
    """What counts as a row without a parent is what the key says; triggers of the table hear nothing of it."""
    engine.owner(
        "CREATE TABLE users (a int, b int, UNIQUE (a, b)); INSERT INTO users VALUES (1, 1), (2, 2);"
        "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, a int, b int,"
        f" c int GENERATED ALWAYS AS (a + 1) STORED,"
        f" CONSTRAINT k {key} NOT VALID);"
        "INSERT INTO orders (a, b) VALUES (1, 1), (2, 2), (NULL, NULL), (NULL, NULL);"
        "CREATE TABLE heard (id int);"
        "CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO heard VALUES (1); RETURN NULL; END';"
        "CREATE TRIGGER hear AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION hear();"
        "ALTER TABLE orders VALIDATE CONSTRAINT k"
    )
    engine.admin("SET session_replication_role = replica; UPDATE orders SET b = 9 WHERE id = 3")
    engine.plan("DROP TABLE orders;")
    run = completed(engine.rollback())

    engine.owner("DELETE FROM users WHERE a = 2")
    completed(engine.recover(run))

    assert [row["id"] for row in engine.query("SELECT id FROM orders ORDER BY id")] == left
    assert engine.query("SELECT * FROM heard") == []
    assert _validated(engine, "k")


def test_orphans_that_others_refer_to_stay(engine: Engine) -> None:
    """To set such a row aside would take others along, or be refused: the key stays NOT VALID, and says why."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1);"
        "CREATE TABLE orders (id int PRIMARY KEY, u int REFERENCES users);"
        "CREATE TABLE lines (o int REFERENCES orders ON DELETE CASCADE);"
        "INSERT INTO orders VALUES (1, 1); INSERT INTO lines VALUES (1)"
    )
    engine.plan("DROP TABLE lines; DROP TABLE orders;")
    run = completed(engine.rollback())

    engine.owner("DELETE FROM users")
    recovered = engine.recover(run)

    assert recovered.state is State.COMPLETED
    assert [step.step for step in recovered.steps if step.outcome == "failed"] == [
        "finish table constraint orders_u_fkey on public.orders"
    ]
    assert engine.query("SELECT count(*) FROM orders, lines") == [{"count": 1}]
    assert not _validated(engine, "orders_u_fkey")


def test_survivors_rows_without_partner_do_not_stop_a_recovery(engine: Engine) -> None:
    """Rows that a survivor got since may refer to nothing: its foreign key comes back and holds for what comes next."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1);"
        "CREATE TABLE lines (id int PRIMARY KEY, o int REFERENCES orders); INSERT INTO lines VALUES (1, 1)"
    )
    engine.plan("DROP TABLE orders CASCADE;")
    run = completed(engine.rollback())

    engine.owner("INSERT INTO lines VALUES (2, 99)")
    recovered = engine.recover(run)

    assert recovered.state is State.COMPLETED
    assert [step.outcome for step in recovered.steps].count("failed") == 1
    assert engine.query("SELECT id FROM lines ORDER BY id") == [{"id": 1}, {"id": 2}]
    assert engine.query("SELECT convalidated FROM pg_constraint WHERE conname = 'lines_o_fkey'") == [
        {"convalidated": False}
    ]


# -- rows that the plan itself had changed ---------------------------------------


def test_newer_rows_win_and_are_counted(engine: Engine) -> None:
    """What was changed, taken away or added since stays as it is; how many did not come back is said."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY, n int);INSERT INTO orders SELECT i, i FROM generate_series(1, 6) AS i"
    )
    engine.plan("UPDATE orders SET n = n + 100 WHERE id <= 4; DELETE FROM orders WHERE id > 4;")
    run = completed(engine.rollback())

    engine.owner(
        "UPDATE orders SET n = 7 WHERE id = 1; DELETE FROM orders WHERE id = 2; INSERT INTO orders VALUES (5, 55)"
    )
    recovered = completed(engine.recover(run))

    assert recovered.result is not None
    assert recovered.result["rows"] == [
        {"table": "public.orders", "kept": 4, "not_back": 2},
        {"table": "public.orders", "kept": 2, "not_back": 1},
    ]
    assert engine.query("SELECT id, n FROM orders ORDER BY id") == [
        {"id": 1, "n": 7},
        {"id": 3, "n": 3},
        {"id": 4, "n": 4},
        {"id": 5, "n": 55},
        {"id": 6, "n": 6},
    ]


def test_row_whose_other_key_was_taken(engine: Engine) -> None:
    """A newer row has what must be unique beside the key: it stays, the preserved row is counted."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE); INSERT INTO users VALUES (1, 'a'), (2, 'b')"
    )
    engine.plan("DELETE FROM users;")
    run = completed(engine.rollback())

    engine.owner("INSERT INTO users VALUES (9, 'a')")
    recovered = completed(engine.recover(run))

    assert recovered.result is not None
    assert recovered.result["rows"] == [{"table": "public.users", "kept": 2, "not_back": 1}]
    assert engine.query("SELECT * FROM users ORDER BY id") == [{"id": 2, "mail": "b"}, {"id": 9, "mail": "a"}]


def test_rows_that_refer_to_what_is_gone(engine: Engine) -> None:
    """Deleted rows whose parents are gone by now cannot come back: they are left out, and all else is back."""
    engine.owner(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1);"
        "CREATE TABLE orders (id int PRIMARY KEY, u int REFERENCES users); INSERT INTO orders VALUES (1, 1);"
        "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)"
    )
    engine.plan("DELETE FROM orders; DROP TABLE other;")
    run = completed(engine.rollback())

    engine.owner("DELETE FROM users")
    first = engine.recover(run)

    assert first.state is State.COMPLETED
    assert [step.step for step in first.steps if step.outcome == "left_out"] == ["give back rows public.orders"]
    assert engine.query("SELECT * FROM other") == [{"id": 1}]
    engine.owner("INSERT INTO users VALUES (1)")
    completed(engine.recover(run))
    assert engine.query("SELECT * FROM orders") == [{"id": 1, "u": 1}]


def test_rules_of_the_table_hear_nothing(engine: Engine) -> None:
    """Rows that come back are no event of the application: a rule does not write them elsewhere, or twice."""
    engine.owner(
        "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2); CREATE TABLE heard (id int)"
    )
    engine.plan("DELETE FROM orders WHERE id = 1;")
    run = completed(engine.rollback())

    engine.owner("CREATE RULE hear AS ON INSERT TO orders DO ALSO INSERT INTO heard VALUES (new.id)")
    completed(engine.recover(run))

    assert engine.query("SELECT * FROM heard") == []
    assert engine.query("SELECT * FROM orders ORDER BY id") == [{"id": 1}, {"id": 2}]
