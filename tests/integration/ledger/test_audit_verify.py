"""Verifying the audit log: whatever was done to it behind our back is found, at the right number."""

from __future__ import annotations

from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from ledger import audit
from ledger.audit import GENESIS, Verification
from ledger.canonical import canonical, sha256
from ledger.database import transaction
from ledger.model import Event, Phase

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

    from ledger.model import Json

LAST = 6

#: A value for each column that is not the one stored, though some look the same to a careless eye.
OTHER_VALUES = {
    "event_id": "gen_random_uuid()",
    "type": "'run_completed'",
    "occurred_at": "replace(occurred_at, 'Z', '+00:00')",
    "actor": "'somebody'",
    "run": "NULL",
    "attempt": "2",
    "target": "'bank'",
    "phase": "NULL",
    "step": "step || ' '",
    "outcome": "'failed'",
    "detail": "detail || '{\"a\": 2}'",
    "prev_hash": "repeat('f', 64)",
    "hash": "repeat('f', 64)",
}


@pytest.fixture
def tamper(ledger_engine: Engine, superuser: psycopg.Connection) -> psycopg.Connection:
    """Give a superuser who has switched off every guard, over a log of six events."""
    with transaction(ledger_engine) as conn:
        for number in range(1, LAST + 1):
            audit.append(
                conn,
                Event(
                    type="step_completed",
                    actor="worker:w",
                    outcome="completed",
                    run=1,
                    attempt=1,
                    target="shop",
                    phase=Phase.APPLY,
                    step=f"step {number}",
                    detail={"a": 1, "number": number},
                ),
            )
    superuser.execute("ALTER TABLE ledger.audit_events DISABLE TRIGGER ALL")
    superuser.execute("ALTER TABLE ledger.audit_head DISABLE TRIGGER ALL")
    superuser.execute("ALTER TABLE ledger.audit_events DROP CONSTRAINT audit_events_seq_check")
    return superuser


def _verify(engine: Engine) -> Verification:
    with transaction(engine) as conn:
        return audit.verify(conn)


def test_an_empty_log_holds(ledger_engine: Engine) -> None:
    """There is nothing to be wrong."""
    assert _verify(ledger_engine) == Verification(ok=True, events=0)


@pytest.mark.usefixtures("tamper")
def test_an_untouched_log_holds(ledger_engine: Engine) -> None:
    """Every hash is computed anew, in Python."""
    assert _verify(ledger_engine) == Verification(ok=True, events=LAST)


@pytest.mark.parametrize("seq", [1, 4, LAST])
@pytest.mark.parametrize("column", OTHER_VALUES)
def test_a_changed_value_is_found(ledger_engine: Engine, tamper: psycopg.Connection, column: str, seq: int) -> None:
    """In any column of any event."""
    changed = tamper.execute(
        f"UPDATE ledger.audit_events SET {column} = {OTHER_VALUES[column]} WHERE seq = %s", [seq]
    ).rowcount

    found = _verify(ledger_engine)

    assert changed == 1
    assert (found.ok, found.first_bad_seq, found.events) == (False, seq, seq - 1)


@pytest.mark.parametrize("detail", ['{"a": 1.0, "number": 4}', '{"a": 1e400, "number": 4}', "{}"])
def test_a_detail_that_was_never_hashed_is_found(
    ledger_engine: Engine, tamper: psycopg.Connection, detail: str
) -> None:
    """A fraction or a number beyond all measure too: it is reported, not stumbled over."""
    tamper.execute("UPDATE ledger.audit_events SET detail = %s WHERE seq = 4", [detail])

    assert _verify(ledger_engine).first_bad_seq == 4


@pytest.mark.parametrize("seq", [1, 4])
def test_an_event_taken_out_is_missed(ledger_engine: Engine, tamper: psycopg.Connection, seq: int) -> None:
    """By its number."""
    tamper.execute("DELETE FROM ledger.audit_events WHERE seq = %s", [seq])

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq, found.reason) == (False, seq, f"event {seq} is missing")


@pytest.mark.parametrize("kept", [0, 3, LAST - 1])
def test_an_end_cut_off_is_missed(ledger_engine: Engine, tamper: psycopg.Connection, kept: int) -> None:
    """The head knows how long the chain was, even when nothing is left of it."""
    tamper.execute("DELETE FROM ledger.audit_events WHERE seq > %s", [kept])

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq, found.events) == (False, kept + 1, kept)


def test_two_events_that_changed_places_are_found(ledger_engine: Engine, tamper: psycopg.Connection) -> None:
    """At the first of them."""
    for statement in ("SET seq = 99 WHERE seq = 3", "SET seq = 3 WHERE seq = 4", "SET seq = 4 WHERE seq = 99"):
        tamper.execute(f"UPDATE ledger.audit_events {statement}")

    assert _verify(ledger_engine).first_bad_seq == 3


@pytest.mark.parametrize(("seq", "bad"), [(0, 0), (-5, -5), (LAST + 1, LAST + 1), (LAST + 9, LAST + 1)])
def test_an_event_put_in_is_found(ledger_engine: Engine, tamper: psycopg.Connection, seq: int, bad: int) -> None:
    """Before the first, after the last, and beyond."""
    tamper.execute(
        """
        INSERT INTO ledger.audit_events
        SELECT %s, gen_random_uuid(), type, occurred_at, actor, run, attempt, target, phase, step, outcome, detail,
               repeat('e', 64), repeat('d', 64)
        FROM ledger.audit_events WHERE seq = 2
        """,
        [seq],
    )

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq) == (False, bad)


def _forge(superuser: psycopg.Connection, seq: int, prev_hash: str) -> dict[str, Json]:
    """Put an event there whose own hash is right."""
    forged: dict[str, Json] = {
        "seq": seq,
        "event_id": f"00000000-0000-4000-8000-{seq:012}",
        "type": "run_completed",
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "actor": "worker:w",
        "run": None,
        "attempt": None,
        "target": None,
        "phase": None,
        "step": None,
        "outcome": "completed",
        "detail": {},
        "prev_hash": prev_hash,
    }
    forged["hash"] = sha256(canonical(forged))
    superuser.execute("DELETE FROM ledger.audit_events WHERE seq = %s", [seq])
    superuser.execute(
        """
        INSERT INTO ledger.audit_events
        SELECT (jsonb_populate_record(NULL::ledger.audit_events, %s::jsonb)).*
        """,
        [canonical(forged)],
    )
    return forged


def _hash(superuser: psycopg.Connection, seq: int) -> str:
    row = superuser.execute("SELECT hash FROM ledger.audit_events WHERE seq = %s", [seq]).fetchone()
    assert row is not None
    return str(row[0])


def test_an_event_put_in_with_a_right_hash_is_found(ledger_engine: Engine, tamper: psycopg.Connection) -> None:
    """The chain goes on, but the head does not know it."""
    _forge(tamper, LAST + 1, _hash(tamper, LAST))

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq, found.events) == (False, LAST + 1, LAST + 1)


@pytest.mark.parametrize(("seq", "bad"), [(1, 2), (3, 4), (LAST, LAST)])
def test_an_event_rewritten_with_a_right_hash_is_found(
    ledger_engine: Engine, tamper: psycopg.Connection, seq: int, bad: int
) -> None:
    """The next one, or the head, still holds the hash of the old one."""
    _forge(tamper, seq, GENESIS if seq == 1 else _hash(tamper, seq - 1))

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq) == (False, bad)


def test_a_whole_chain_written_anew_with_its_head_is_not_found(
    ledger_engine: Engine, tamper: psycopg.Connection
) -> None:
    """The limit: only a hash kept elsewhere, such as that of a log line, tells. The log is tamper-evident, no more."""
    before, last = _hash(tamper, LAST), _forge(tamper, LAST, _hash(tamper, LAST - 1))
    tamper.execute("UPDATE ledger.audit_head SET hash = %s", [last["hash"]])

    assert _verify(ledger_engine).ok
    assert _hash(tamper, LAST) != before


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ("UPDATE ledger.audit_head SET seq = 4", 5),
        ("UPDATE ledger.audit_head SET seq = 9", LAST + 1),
        ("UPDATE ledger.audit_head SET hash = repeat('f', 64)", LAST),
        ("DELETE FROM ledger.audit_head", LAST + 1),
    ],
)
def test_a_changed_head_is_found(ledger_engine: Engine, tamper: psycopg.Connection, change: str, bad: int) -> None:
    """Turned back, forward, renamed or gone."""
    tamper.execute(change)

    found = _verify(ledger_engine)

    assert (found.ok, found.first_bad_seq, found.events) == (False, bad, LAST)


def test_nothing_left_at_all_is_found(ledger_engine: Engine, tamper: psycopg.Connection) -> None:
    """An empty log without a head is not a new one."""
    tamper.execute("TRUNCATE ledger.audit_events, ledger.audit_head")

    assert _verify(ledger_engine).first_bad_seq == 1


def test_verifying_while_others_append_raises_no_alarm(ledger_engine: Engine) -> None:
    """Events and head are read in one snapshot."""
    done = Flag()

    def keep_appending() -> None:
        while not done.is_set():
            with transaction(ledger_engine) as conn:
                audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))

    appender = Thread(target=keep_appending)
    appender.start()
    try:
        found = [_verify(ledger_engine) for _ in range(30)]
    finally:
        done.set()
        appender.join()

    assert [verification for verification in found if not verification.ok] == []
