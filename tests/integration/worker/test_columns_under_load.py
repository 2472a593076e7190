"""Columns are dropped while writers write all the time, who keep beside them what they have committed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from tests.harness import Engine, completed
from worker.crash_points import CRASH_POINTS_PRESERVE

#: At least so many transactions are committed while the run is in phase preserve.
_COMMITS = 5_000
#: The run's own; a writer may wait that long for it, and for another writer who does.
_LOCK_TIMEOUT_MS, _WRITERS_TIMEOUT_MS = 500, 2000

_ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, note text);
INSERT INTO items SELECT i, 'item ' || i, i * 1.5, repeat('n', i % 50) FROM generate_series(1, 2000) AS i;
CREATE TABLE truth (id int PRIMARY KEY, price numeric, note text);
INSERT INTO truth SELECT id, price, note FROM items;
"""
_NOTE = (
    "INSERT INTO truth (id, price, note) VALUES (%s, %s, %s)"
    " ON CONFLICT (id) DO UPDATE SET price = excluded.price, note = excluded.note"
)

#: What a write comes to: keys that are gone, and rows as they are now.
Effect = tuple[list[int], list[tuple[int, Any, str | None]]]
Write = Callable[[psycopg.Cursor[Any], random.Random], Effect]


def _rows(cursor: psycopg.Cursor[Any]) -> list[tuple[int, Any, str | None]]:
    return [(row["id"], row["price"], row["note"]) for row in cursor.fetchall()]


def _insert(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    low = dice.randrange(3_000)
    cursor.execute(
        f"INSERT INTO items (id, price, note) SELECT i, {dice.random()}, 'inserted' FROM generate_series"
        f"({low}, {low} + {dice.randrange(4)}) AS i ON CONFLICT (id) DO UPDATE SET price = excluded.price"
        " RETURNING id, price, note"
    )
    return [], _rows(cursor)


def _update(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    low = dice.randrange(3_000)
    cursor.execute(
        f"UPDATE items SET price = {dice.random()}, note = note || 'u' WHERE id BETWEEN {low} AND {low + 3}"
        " RETURNING id, price, note"
    )
    return [], _rows(cursor)


def _touch(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    """Change what is not dropped."""
    cursor.execute(f"UPDATE items SET name = 'touched' WHERE id = {dice.randrange(3_000)}")
    return [], []


def _delete(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    low = dice.randrange(3_000)
    cursor.execute(f"DELETE FROM items WHERE id BETWEEN {low} AND {low + 1} RETURNING id, price, note")
    return [row[0] for row in _rows(cursor)], []


def _change_key(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    """Let two rows change places by way of a third key."""
    one, other = dice.sample(range(3_000), 2)
    aside, gone, rows = -1 - one, list[int](), list[tuple[int, Any, str | None]]()
    for before, after in ((one, aside), (other, one), (aside, other)):
        cursor.execute(f"UPDATE items SET id = {after} WHERE id = {before} RETURNING id, price, note")
        found = _rows(cursor)
        # A key that was not there is not ours: somebody else may have filled it since.
        gone += [before for _ in found if before != aside]
        rows += [row for row in found if after != aside]
    return gone, rows


def _copy(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    low = dice.randrange(2_990)
    cursor.execute(f"DELETE FROM items WHERE id BETWEEN {low} AND {low + 4}")
    rows = [(low + number, dice.randrange(1000), "copied") for number in range(5)]
    with cursor.copy("COPY items (id, price, note) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    return [], list(rows)


def _truncate(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    cursor.execute("TRUNCATE items, truth")
    last = dice.randrange(1, 2000)
    cursor.execute(
        f"INSERT INTO items (id, price, note) SELECT i, i, 'anew' FROM generate_series(1, {last}) AS i"
        " RETURNING id, price, note"
    )
    return [], _rows(cursor)


def _roll_back(cursor: psycopg.Cursor[Any], dice: random.Random) -> Effect:
    """Undo most of it: only what comes after the savepoint stays."""
    cursor.execute("SAVEPOINT s")
    for write in (_update, _delete, _change_key):
        write(cursor, dice)
    cursor.execute("ROLLBACK TO s")
    return _update(cursor, dice)


_WRITES: tuple[tuple[Write, int], ...] = (
    (_insert, 30),
    (_update, 40),
    (_touch, 10),
    (_delete, 10),
    (_change_key, 15),
    (_copy, 8),
    (_roll_back, 10),
)


class _Writers:
    """Writes to `items`, and what came of it to `truth`, in one transaction each, until the columns are gone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.commits = 0
        self.kinds: set[str] = set()
        self.failures: list[BaseException] = []
        self.longest = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=60)

    def _write(self, number: int) -> None:
        dice = random.Random(number)  # noqa: S311 - for variety, not for secrets
        # A restore or a subscriber writes in the replica role; that takes a superuser.
        role = "postgres" if number == 0 else "goodbuy_app"
        with self._engine.connect(role) as conn:
            conn.execute("SET synchronous_commit = off")
            conn.execute(f"SET lock_timeout = {_WRITERS_TIMEOUT_MS}")
            if number == 0:
                conn.execute("SET session_replication_role = replica")
            while not self._stop.is_set():
                try:
                    self._once(conn, number, dice)
                except (pg.UndefinedColumn, pg.UndefinedTable):
                    return
                except (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation):
                    continue
                except BaseException as error:  # noqa: BLE001 - told by the test
                    self.failures.append(error)
                    return

    def _once(self, conn: psycopg.Connection[Any], number: int, dice: random.Random) -> None:
        write = _truncate if dice.random() < 0.0005 else dice.choices(*zip(*_WRITES, strict=True))[0]
        began = time.monotonic()
        level = "REPEATABLE READ" if number == 1 else "READ COMMITTED"
        with conn.cursor() as cursor:
            cursor.execute(f"BEGIN ISOLATION LEVEL {level}")
            try:
                gone, rows = write(cursor, dice)
                # The rows are ours until COMMIT, so that nobody comes between them and what is noted of them.
                cursor.execute("DELETE FROM truth WHERE id = ANY (%s)", (gone,))
                cursor.executemany(_NOTE, rows)
                end = "ROLLBACK" if dice.random() < 0.05 else "COMMIT"
                cursor.execute(end)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        with self._lock:
            self.commits += end == "COMMIT"
            self.kinds.add(write.__name__)
            self.longest = max(self.longest, time.monotonic() - began)

    def wait_for(self, more: int) -> None:
        """Wait until so many more transactions are through."""
        until, deadline = self.commits + more, time.monotonic() + 60
        while self.commits < until and not self.failures and time.monotonic() < deadline:
            time.sleep(0.01)


@pytest.mark.timeout(300)
def test_nothing_is_missing_and_nothing_is_stale(engine: Engine) -> None:
    """With thousands of commits while the run goes on, the copy holds the last committed values; they all come back."""
    engine.owner(_ITEMS)
    engine.plan("ALTER TABLE items DROP COLUMN price, DROP COLUMN note;", online_rows=0)
    engine.limits = {"lock_timeout_ms": _LOCK_TIMEOUT_MS}
    writers = _Writers(engine)
    during: list[int] = []
    waits = dict.fromkeys((*CRASH_POINTS_PRESERVE, "apply_entered"), _COMMITS // len(CRASH_POINTS_PRESERVE))

    def at(point: str) -> None:
        if point in waits:
            writers.wait_for(waits.pop(point))
            during.append(writers.commits)

    engine.at = at
    with writers.writing():
        writers.wait_for(200)
        began = writers.commits
        done = completed(engine.rollback())

    assert writers.failures == []
    assert during[-1] - began >= _COMMITS
    assert {write.__name__ for write, _ in _WRITES} <= writers.kinds
    (inside,) = {row.inside for row in engine.kept(done)}
    assert _differences(engine, f"SELECT id, price::text, note FROM {inside}") == []
    assert {row.rows for row in engine.kept(done)} == {engine.query("SELECT count(*) FROM truth")[0]["count"]}
    engine.owner("DELETE FROM items WHERE id = (SELECT min(id) FROM items); INSERT INTO items (id) VALUES (5000)")
    engine.owner(
        "DELETE FROM truth WHERE id NOT IN (SELECT id FROM items); INSERT INTO truth VALUES (5000, NULL, NULL)"
    )
    completed(engine.recover(done))
    assert _differences(engine, "SELECT id, price::text, note FROM items") == []


def _differences(engine: Engine, found: str) -> list[dict[str, Any]]:
    """Return what a query misses of the truth, and what it has beside it."""
    truth = "SELECT id, price::text, note FROM truth"
    missing, stale = f"{truth} EXCEPT {found}", f"{found} EXCEPT {truth}"
    return engine.query(
        f"SELECT 'missing' AS how, * FROM ({missing}) AS m UNION ALL SELECT 'stale', * FROM ({stale}) AS s"
    )
