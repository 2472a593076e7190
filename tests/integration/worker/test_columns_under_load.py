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
from worker.executor import CRASH_POINTS_PRESERVE

#: At least so many transactions are committed while the run is in phase preserve.
_COMMITS = 5_000
_LOCK_TIMEOUT_MS = 1000

_ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, note text);
INSERT INTO items SELECT i, 'item ' || i, i * 1.5, repeat('n', i % 50) FROM generate_series(1, 2000) AS i;
CREATE TABLE truth (id int PRIMARY KEY, price numeric, note text);
INSERT INTO truth SELECT id, price, note FROM items;
"""
_COPY = "COPY {t} (id, price, note) FROM STDIN"

Write = Callable[[psycopg.Cursor[Any], str, random.Random], None]


def _insert(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    low = dice.randrange(3_000)
    cursor.execute(
        f"INSERT INTO {table} (id, price, note) SELECT i, {dice.random()}, 'inserted' FROM generate_series"
        f"({low}, {low} + {dice.randrange(4)}) AS i ON CONFLICT (id) DO UPDATE SET price = excluded.price"
    )


def _update(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    low = dice.randrange(3_000)
    cursor.execute(
        f"UPDATE {table} SET price = {dice.random()}, note = note || 'u' WHERE id BETWEEN {low} AND {low + 3}"
    )


def _delete(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    cursor.execute(f"DELETE FROM {table} WHERE id = {dice.randrange(3_000)}")


def _change_key(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    one, other = dice.sample(range(3_000), 2)
    # Whoever has the other key goes first; then two rows change places by way of a third key.
    for before, after in ((one, -1 - one), (other, one), (-1 - one, other)):
        cursor.execute(f"UPDATE {table} SET id = {after} WHERE id = {before}")


def _copy(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    low = dice.randrange(2_990)
    cursor.execute(f"DELETE FROM {table} WHERE id BETWEEN {low} AND {low + 4}")
    with cursor.copy(_COPY.format(t=table)) as copy:
        for number in range(5):
            copy.write_row((low + number, dice.randrange(1000), "copied"))


def _truncate(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    cursor.execute(f"TRUNCATE {table}")
    rows = dice.randrange(2000)
    cursor.execute(f"INSERT INTO {table} (id, price, note) SELECT i, i, 'anew' FROM generate_series(1, {rows}) AS i")


def _roll_back(cursor: psycopg.Cursor[Any], table: str, dice: random.Random) -> None:
    """Undo most of it: what stays is one savepoint's."""
    cursor.execute("SAVEPOINT s")
    _update(cursor, table, dice)
    _delete(cursor, table, dice)
    cursor.execute("ROLLBACK TO s")
    _update(cursor, table, dice)


_WRITES: tuple[tuple[Write, int], ...] = (
    (_insert, 30),
    (_update, 40),
    (_delete, 15),
    (_change_key, 15),
    (_copy, 8),
    (_roll_back, 10),
)


class _Writers:
    """Writes the same to `items` and to `truth`, in one transaction each, until the columns are gone."""

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
            conn.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
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
        seed, began = dice.random(), time.monotonic()
        level = "REPEATABLE READ" if number == 1 else "READ COMMITTED"
        with conn.cursor() as cursor:
            cursor.execute(f"BEGIN ISOLATION LEVEL {level}")
            try:
                for table in ("items", "truth"):
                    write(cursor, table, random.Random(seed))  # noqa: S311 - the same for both tables
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
    return engine.query(f"({truth} EXCEPT {found}) UNION ALL ({found} EXCEPT {truth})")
