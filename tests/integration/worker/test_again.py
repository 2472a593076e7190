"""The migration was applied again before its rollback is recovered: rows are merged by key with what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.model import Policy, Run
from tests.harness import Engine, completed, ended
from worker.preview import preview_recovery

_ITEMS = "CREATE TABLE items (id int PRIMARY KEY, n int, note text)"
_FIVE = f"{_ITEMS}; INSERT INTO items SELECT i, i, 'old' FROM generate_series(1, 5) AS i"
#: 1 is as it was, 2 is newer, 9 is new.
_APPLIED_AGAIN = f"{_ITEMS}; INSERT INTO items VALUES (1, 1, 'old'), (2, 22, 'new'), (9, 9, 'new')"


def _result(run: Run) -> Any:  # noqa: ANN401 - whatever was written down
    return run.result


def _items(engine: Engine) -> dict[int, tuple[int, str]]:
    return {row["id"]: (row["n"], row["note"]) for row in engine.query("SELECT id, n, note FROM items")}


def _dropped(engine: Engine, given: str = _FIVE, plan: str = "DROP TABLE items;", again: str = _APPLIED_AGAIN) -> Run:
    engine.owner(given)
    engine.plan(plan)
    run = completed(engine.rollback())
    engine.owner(again)
    return run


def test_only_when_asked(engine: Engine) -> None:
    """A name that is taken again may be so by chance: without a policy the recovery is refused, and says what to do."""
    run = _dropped(engine)
    before = engine.picture()

    refused = engine.recover(run)

    assert refused.error is not None
    assert refused.error.code == "conflict"
    assert '"public"."items" exists again' in refused.error.message
    assert "--policy skip, overwrite or aside merges rows by key" in refused.error.message
    assert engine.picture() == before


def test_newer_rows_stay(engine: Engine) -> None:
    """With `skip` preserved rows that meet none are added; the others stay in quarantine, and may be merged again."""
    run = _dropped(engine)

    recovered = completed(engine.recover(run, policy=Policy.SKIP))

    old = {i: (i, "old") for i in (1, 3, 4, 5)}
    assert _items(engine) == {**old, 2: (22, "new"), 9: (9, "new")}
    assert _result(recovered)["merged"] == [{"object": "table public.items", "kept": 5, "not_back": 1}]
    assert engine.registry() == ["recovered"]

    engine.owner("DELETE FROM items WHERE id = 2")
    completed(engine.recover(run, policy=Policy.SKIP))

    assert _items(engine) == {**old, 2: (2, "old"), 9: (9, "new")}
    completed(engine.purge(run))


def test_preserved_rows_win(engine: Engine) -> None:
    """With `overwrite` they take the place of newer ones, which the recovery keeps and gives back."""
    run = _dropped(engine)

    recovered = completed(engine.recover(run, policy=Policy.OVERWRITE))

    old = {i: (i, "old") for i in range(1, 6)}
    assert _items(engine) == {**old, 9: (9, "new")}
    assert _result(recovered)["merged"] == [
        {"object": "table public.items", "kept": 5, "not_back": 0, "overwritten": 1}
    ]

    completed(engine.recover(recovered))

    assert _items(engine) == {**old, 2: (22, "new"), 9: (9, "new")}


def test_preserved_rows_are_put_aside(engine: Engine) -> None:
    """With `aside` they lie beside the newer ones; the recovery of the recovery puts them in place."""
    run = _dropped(engine)

    recovered = completed(engine.recover(run, policy=Policy.ASIDE))

    old = {i: (i, "old") for i in range(1, 6)}
    assert _items(engine) == {**old, 2: (22, "new"), 9: (9, "new")}
    assert _result(recovered)["merged"] == [{"object": "table public.items", "kept": 5, "not_back": 1, "aside": 1}]

    completed(engine.recover(recovered))

    assert _items(engine) == {**old, 9: (9, "new")}


def test_column_by_name(engine: Engine) -> None:
    """Columns are matched by name, in any order, and by their text where a type was made anew; others are left."""
    run = _dropped(
        engine,
        "CREATE TYPE mood AS ENUM ('sad', 'ok');"
        "CREATE TABLE items (id serial PRIMARY KEY, mood mood, moods mood[], gone text,"
        " twice int GENERATED ALWAYS AS (n * 2) STORED, n int);"
        "INSERT INTO items (mood, moods, gone, n) SELECT 'ok', '{sad,ok}', 'x', i FROM generate_series(1, 7) AS i",
        "DROP TABLE items; DROP TYPE mood;",
        "CREATE TYPE mood AS ENUM ('ok', 'sad', 'fine'); CREATE TABLE items (n bigint, fresh text DEFAULT 'f',"
        " moods mood[], id serial PRIMARY KEY, mood mood); INSERT INTO items (n, mood) VALUES (70, 'fine')",
    )

    recovered = completed(engine.recover(run, policy=Policy.SKIP))

    assert _result(recovered)["merged"] == [
        {"object": "table public.items", "kept": 7, "not_back": 1, "without": ["gone"]}
    ]
    assert _result(recovered)["there_again"] == ["type public.mood"]
    found = engine.query("SELECT id, n, fresh, mood::text, moods::text FROM items ORDER BY id")
    assert [tuple(row.values()) for row in found] == [
        (1, 70, "f", "fine", None),
        *((i, i, "f", "ok", "{sad,ok}") for i in range(2, 8)),
    ]
    assert engine.query("INSERT INTO items (n) VALUES (8) RETURNING id") == [{"id": 8}]


def test_parents_that_are_gone(engine: Engine) -> None:
    """A preserved row without a parent stays in quarantine; rows of one table may be each other's parents."""
    tables = (
        "CREATE TABLE nodes (id int PRIMARY KEY, up int REFERENCES nodes);"
        "CREATE TABLE items (id int PRIMARY KEY, n int, note text, node int REFERENCES nodes)"
    )
    run = _dropped(
        engine,
        f"{tables}; INSERT INTO nodes VALUES (1, NULL), (2, 1), (3, 2); INSERT INTO items SELECT i, i, '', i FROM"
        " generate_series(1, 3) AS i",
        "DROP TABLE items, nodes;",
        f"{tables}; INSERT INTO nodes VALUES (3, NULL)",
    )

    recovered = completed(engine.recover(run, policy=Policy.SKIP))

    assert engine.query("SELECT * FROM nodes ORDER BY id") == [
        {"id": 1, "up": None},
        {"id": 2, "up": 1},
        {"id": 3, "up": None},
    ]
    assert sorted(_items(engine)) == [1, 2, 3]
    assert {told["object"]: told["not_back"] for told in _result(recovered)["merged"]} == {
        "table public.items": 0,
        "table public.nodes": 1,
    }


def test_parent_that_nobody_kept(engine: Engine) -> None:
    """A row whose parent somebody has deleted since is not merged, under no policy, and is counted."""
    table = "CREATE TABLE items (id int PRIMARY KEY, n int, note text, u int REFERENCES users)"
    run = _dropped(
        engine,
        f"CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2); {table};"
        "INSERT INTO items VALUES (1, 1, '', 1), (2, 2, '', 2), (3, 3, '', NULL), (4, 4, '', 2)",
        again=f"{table}; DELETE FROM users WHERE id = 2; INSERT INTO items VALUES (4, 44, 'new', NULL)",
    )

    recovered = completed(engine.recover(run, policy=Policy.OVERWRITE))

    assert _items(engine) == {1: (1, ""), 3: (3, ""), 4: (44, "new")}
    (told,) = _result(recovered)["merged"]
    assert (told["kept"], told["not_back"], told["overwritten"]) == (4, 2, 0)


def test_rules_of_the_newer_table(engine: Engine) -> None:
    """Rows that break a rule of the newer table are left out together, named, and all else comes back."""
    run = _dropped(
        engine,
        f"{_FIVE}; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
        "DROP TABLE items, other;",
        "CREATE TABLE items (id int PRIMARY KEY, n int CHECK (n > 3), note text)",
    )

    recovered = engine.recover(run, policy=Policy.SKIP)

    assert recovered.state == "completed", ended(recovered)
    assert [left["step"] for left in _result(recovered)["left_out"]] == ["merge table public.items"]
    assert _items(engine) == {}
    assert engine.query("SELECT * FROM other") == [{"id": 1}]


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (
            "CREATE TABLE items (n int PRIMARY KEY, id int, note text)",
            "no primary key or UNIQUE NOT NULL key",
        ),
        ("CREATE TABLE items (id int, n int, note text)", "no primary key or UNIQUE NOT NULL key"),
        ("CREATE VIEW items AS SELECT 1 AS id", '"public"."items" exists again'),
        ("CREATE TABLE items (id int PRIMARY KEY) PARTITION BY LIST (id)", '"public"."items" exists again'),
        ("CREATE TABLE other (id int CONSTRAINT items_pkey PRIMARY KEY)", '"public"."items_pkey" exists again'),
        (f"CREATE TYPE mood AS ENUM ('x'); {_ITEMS}", "type public.mood exists again"),
    ],
    ids=["another key", "no key", "a view", "partitions", "an index of the name", "a type alone"],
)
def test_what_cannot_be_merged(engine: Engine, again: str, said: str) -> None:
    """Refused with the reason, and nothing is touched."""
    run = _dropped(
        engine,
        f"{_FIVE}; CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE feelings (id int PRIMARY KEY, mood mood)",
        "DROP TABLE items, feelings; DROP TYPE mood;",
        again,
    )
    before = engine.picture()

    refused = engine.recover(run, policy=Policy.SKIP)

    assert refused.error is not None
    assert refused.error.code == "conflict", ended(refused)
    assert said in refused.error.message
    assert engine.picture() == before


_PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, name text {columns})"


@pytest.mark.parametrize("policy", Policy)
def test_columns_that_are_there_again(engine: Engine, policy: Policy) -> None:
    """Values come back by key where nobody has written anything but the default; rows that are gone stay gone."""
    engine.owner(_PEOPLE.format(columns=", a int DEFAULT 7, b text"))
    engine.owner("INSERT INTO people SELECT i, 'p', i, 'b' || i FROM generate_series(1, 4) AS i")
    engine.plan("ALTER TABLE people DROP COLUMN a, DROP COLUMN b;")
    run = completed(engine.rollback())
    engine.owner(
        "ALTER TABLE people ADD COLUMN b varchar(9), ADD COLUMN a int DEFAULT 7; UPDATE people SET a = 99 WHERE id = 2;"
        "DELETE FROM people WHERE id = 4; INSERT INTO people VALUES (5, 'new', NULL, 5)"
    )

    recovered = completed(engine.recover(run, policy=policy))

    wins = policy is Policy.OVERWRITE
    assert [(row["id"], row["a"], row["b"]) for row in engine.query("SELECT * FROM people ORDER BY id")] == [
        (1, 1, "b1"),
        (2, 2 if wins else 99, "b2"),
        (3, 3, "b3"),
        (5, 5, None),
    ]
    told = {each.pop("object"): each for each in _result(recovered)["merged"]}
    assert {name: each["not_back"] for name, each in told.items()} == {
        "table column public.people.a": 1 if wins else 2,
        "table column public.people.b": 1,
    }

    if policy is not Policy.SKIP:
        completed(engine.recover(recovered))
        found = engine.query("SELECT id, a FROM people ORDER BY id")
        assert [tuple(row.values()) for row in found] == [
            (1, 1 if not wins else 7),
            (2, 99 if wins else 2),
            (3, 3 if not wins else 7),
            (5, 5),
        ]


def test_only_one_column_of_two(engine: Engine) -> None:
    """Columns whose values are kept together are merged together, or not at all."""
    engine.owner(_PEOPLE.format(columns=", a int, b text"))
    engine.plan("ALTER TABLE people DROP COLUMN a, DROP COLUMN b;")
    run = completed(engine.rollback())
    engine.owner("ALTER TABLE people ADD COLUMN b text")

    refused = engine.recover(run, policy=Policy.SKIP)

    assert refused.error is not None
    assert refused.error.code == "conflict"
    assert "public.people.b exists again, but not public.people.a" in refused.error.message


@pytest.mark.parametrize("policy", Policy)
def test_the_documents_migrations_applied_again(sample_engine: Engine, policy: Policy) -> None:
    """All five are rolled back, applied again, used, and recovered: every old row is there, and every newer one."""
    engine = sample_engine
    plans = Path(__file__).parents[3] / "sql" / "plans" / "goodbuy_hq"
    listed = (Path(__file__).parents[3] / "sql" / "sample" / "migrations.txt").read_text(encoding="utf-8")
    names = [line for line in listed.splitlines() if line and not line.startswith("#")]
    tables = ["health_metrics", "forecast_results", "quickbooks_connections", "quickbooks_sync_logs", "health_alerts"]
    before = {name: engine.query(f"SELECT to_jsonb(t) AS row FROM {name} AS t") for name in [*tables, "businesses"]}
    run = completed(engine.rollback("complete_ai_schema"))
    for name in names:
        engine.owner((plans / name / "migration.sql").read_text(encoding="utf-8"))
    engine.owner("INSERT INTO health_metrics (business_id, overall_score) SELECT id, 50 FROM businesses LIMIT 7")

    recovered = completed(engine.recover(run, policy=policy))

    for name, rows in before.items():
        now = engine.query(f"SELECT to_jsonb(t) AS row FROM {name} AS t")
        assert [row for row in rows if row not in now] == [], name
        assert len(now) == len(rows) + (7 if name == "health_metrics" else 0)
    told = {each["object"]: each["not_back"] for each in _result(recovered)["merged"]}
    assert set(told.values()) == {0}
    assert len(told) == 9
    assert len(_result(recovered)["there_again"]) == 9
    completed(engine.rollback("complete_ai_schema"))


# -- what a dry run counts ------------------------------------------------------


def _foreseen(engine: Engine, run: Run, policy: Policy | None = None) -> dict[str, list[int]]:
    before = engine.picture()
    found = preview_recovery(engine.session, engine.installation, engine.find(run.run), policy=policy)
    assert found.refusals == ()
    assert engine.picture() == before
    told: dict[str, list[int]] = {}
    for each in found.conflicts:
        told.setdefault(each.object, []).append(each.count)
    return told


def test_newer_rows_are_foreseen(engine: Engine) -> None:
    """What the dry run counts of tables that are there again is what the recovery then leaves out."""
    run = _dropped(engine)

    assert _foreseen(engine, run, Policy.SKIP) == {"table public.items": [1]}
    assert _result(completed(engine.recover(run, policy=Policy.SKIP)))["merged"][0]["not_back"] == 1


def test_changed_rows_are_foreseen(engine: Engine) -> None:
    """The same for rows that the plan had changed: some are newer, some are gone."""
    engine.owner(_FIVE)
    engine.plan("UPDATE items SET n = n + 100 WHERE id < 4; DELETE FROM items WHERE id >= 4;")
    run = completed(engine.rollback())
    engine.owner("UPDATE items SET n = 7 WHERE id = 1; DELETE FROM items WHERE id = 2")
    engine.owner("INSERT INTO items VALUES (4, 0, '')")

    assert _foreseen(engine, run) == {"rows public.items": [1, 2]}
    assert sorted(told["not_back"] for told in _result(completed(engine.recover(run)))["rows"]) == [1, 2]


def test_columns_and_keys_are_foreseen(engine: Engine) -> None:
    """Rows that are gone or new where a column comes back, and rows without a parent where a foreign key does."""
    engine.owner(
        f"{_FIVE}; CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items);"
        "INSERT INTO parts SELECT i, i FROM generate_series(1, 5) AS i;"
        "CREATE TABLE notes (id int PRIMARY KEY, part int REFERENCES parts);"
        "INSERT INTO notes VALUES (1, 1)"
    )
    engine.plan("ALTER TABLE items DROP COLUMN note; DROP TABLE parts, notes;")
    run = completed(engine.rollback())
    engine.owner("DELETE FROM items WHERE id > 3; INSERT INTO items VALUES (10, 1), (11, 1), (12, 1)")

    found = _foreseen(engine, run)

    assert found == {
        "table column public.items.note": [2, 3],
        "table constraint parts_item_fkey on public.parts": [2],
    }
    recovered = completed(engine.recover(run))
    assert [told["rows"] for told in _result(recovered)["set_aside"]] == [2]
