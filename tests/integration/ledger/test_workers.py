"""Workers that live have said so lately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ledger import workers
from ledger.database import transaction
from ledger.watching import figures

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine


def _alive(engine: Engine) -> int:
    with transaction(engine) as conn:
        return figures(conn).workers_alive


def test_a_worker_lives_as_long_as_it_said(ledger_engine: Engine) -> None:
    """And then no longer, unless it says so again."""
    workers.beat(ledger_engine, "w1", 0.3)
    first = _alive(ledger_engine)
    time.sleep(0.35)
    second = _alive(ledger_engine)
    workers.beat(ledger_engine, "w1", 60)

    assert (first, second, _alive(ledger_engine)) == (1, 0, 1)


def test_a_worker_that_leaves_is_gone_at_once(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """With its row; to leave twice, or without having come, is nothing."""
    workers.beat(ledger_engine, "w1", 60)
    workers.beat(ledger_engine, "w2", 60)

    workers.leave(ledger_engine, "w1")
    workers.leave(ledger_engine, "w1")

    assert superuser.execute("SELECT worker FROM ledger.workers").fetchall() == [("w2",)]


def test_a_worker_that_died_without_a_word_is_forgotten_after_a_day(
    ledger_engine: Engine, superuser: psycopg.Connection
) -> None:
    """By the next one that says that it lives."""
    workers.beat(ledger_engine, "today", 0)
    workers.beat(ledger_engine, "yesterday", 0)
    superuser.execute("UPDATE ledger.workers SET alive_until = now() - interval '25 hours' WHERE worker = 'yesterday'")

    workers.beat(ledger_engine, "w1", 60)

    assert superuser.execute("SELECT worker FROM ledger.workers ORDER BY 1").fetchall() == [("today",), ("w1",)]


def test_a_worker_that_comes_again_under_a_name_began_then(
    ledger_engine: Engine, superuser: psycopg.Connection
) -> None:
    """In a container every worker has the same host and process id; the dead one is not it."""
    asked = "SELECT started_at FROM ledger.workers"
    workers.beat(ledger_engine, "host:1", 0)
    died = superuser.execute(asked).fetchone()

    workers.beat(ledger_engine, "host:1", 60)
    came = superuser.execute(asked).fetchone()
    workers.beat(ledger_engine, "host:1", 60)

    assert died is not None
    assert came is not None
    assert came > died
    assert superuser.execute(asked).fetchone() == came
