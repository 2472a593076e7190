"""Appending to the audit log: one chain, one door, and nobody changes what stands there."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from ledger import audit
from ledger.audit import GENESIS
from ledger.canonical import canonical, sha256
from ledger.database import open_ledger, reaching_ledger, transaction
from ledger.errors import LedgerUnreachable
from ledger.model import Event, Phase

if TYPE_CHECKING:
    from ledger.model import AuditEvent, Json

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DETAILS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def _append(engine: Engine, **values: object) -> AuditEvent:
    event = Event(**{"type": "plan_read", "actor": "worker:w", "outcome": "ok", **values})  # type: ignore[arg-type]  # a test may give anything
    with transaction(engine) as conn:
        return audit.append(conn, event)


def _read(engine: Engine) -> list[AuditEvent]:
    with transaction(engine) as conn:
        return list(audit.read(conn))


# -- what stands there ------------------------------------------------------


def test_an_event_is_stored_as_told(ledger_engine: Engine) -> None:
    """Every field comes back, the missing ones as None."""
    told = {"run": 7, "attempt": 2, "target": "shop", "phase": Phase.APPLY, "step": "move", "detail": {"a": [1, None]}}

    full, bare = _append(ledger_engine, **told), _append(ledger_engine)

    assert {name: getattr(full, name) for name in told} == told
    assert {getattr(bare, name) for name in told if name != "detail"} == {None}
    assert bare.detail == {}
    assert _read(ledger_engine) == [full, bare]


def test_numbers_and_hashes_make_a_chain(ledger_engine: Engine) -> None:
    """From 1, each with the hash of the one before."""
    events = [_append(ledger_engine) for _ in range(3)]

    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.prev_hash for event in events] == [GENESIS, events[0].hash, events[1].hash]
    assert len({event.event_id for event in events}) == 3


def test_the_time_is_the_database_s_in_utc(ledger_engine: Engine) -> None:
    """To the microsecond, as RFC 3339."""
    event = _append(ledger_engine)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event.occurred_at)
    assert abs(datetime.fromisoformat(event.occurred_at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_hash_is_that_of_the_canonical_json_of_all_the_rest(ledger_engine: Engine) -> None:
    """Anybody can compute it anew from an exported event."""
    event = _append(ledger_engine, run=1, detail={"ü": "\U0001f600", "Z": [True]})

    exported: dict[str, Json] = {
        "seq": 1,
        "event_id": str(event.event_id),
        "type": "plan_read",
        "occurred_at": event.occurred_at,
        "actor": "worker:w",
        "run": 1,
        "attempt": None,
        "target": None,
        "phase": None,
        "step": None,
        "outcome": "ok",
        "detail": {"ü": "\U0001f600", "Z": [True]},
        "prev_hash": "0" * 64,
    }
    assert event.hash == sha256(canonical(exported))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(detail=DETAILS)
def test_sql_and_python_agree_on_canonical_json(ledger_engine: Engine, detail: dict[str, Json]) -> None:
    """For any nesting and any text: controls, quotes, beyond the basic plane."""
    with transaction(ledger_engine) as conn:
        in_sql = conn.execute(
            text("SELECT ledger.canonical_json(CAST(:detail AS jsonb))"), {"detail": json.dumps(detail)}
        ).scalar_one()

    assert in_sql == canonical(detail)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(detail=DETAILS)
def test_any_detail_comes_back_and_verifies(ledger_engine: Engine, detail: dict[str, Json]) -> None:
    """What was told is what is stored and hashed."""
    event = _append(ledger_engine, detail=detail)

    assert event.detail == detail
    with transaction(ledger_engine) as conn:
        assert audit.verify(conn).ok


@pytest.mark.parametrize("number", ["0.5", "1.0", "1e-1", "-2.50"])
def test_sql_refuses_fractions_too(ledger_engine: Engine, number: str) -> None:
    """Whoever calls the function without our Python meets the same rule."""
    with pytest.raises(DataError) as refusal, transaction(ledger_engine) as conn:
        conn.execute(text("SELECT ledger.canonical_json(CAST(:value AS jsonb))"), {"value": f'{{"a": [{number}]}}'})

    assert isinstance(refusal.value.orig, psycopg.errors.InvalidParameterValue)


@pytest.mark.parametrize("told", [{"detail": {"a": 0.5}}, {"detail": {"a": "\0"}}, {"detail": {"a": "\ud800"}}])
def test_what_cannot_be_hashed_is_not_appended(ledger_engine: Engine, told: dict[str, object]) -> None:
    """And uses up no number."""
    with pytest.raises((TypeError, ValueError)):
        _append(ledger_engine, **told)

    assert _append(ledger_engine).seq == 1


@pytest.mark.parametrize("kind", ["Run Completed", "", "1st", "run-completed"])
def test_a_type_is_a_lower_case_word(ledger_engine: Engine, kind: str) -> None:
    """It becomes a log event and a metric label."""
    with pytest.raises(IntegrityError):
        _append(ledger_engine, type=kind)


# -- reading ----------------------------------------------------------------


def test_reading_can_be_narrowed(ledger_engine: Engine) -> None:
    """To a run, from a number on, and to so many."""
    for number in range(1, 7):
        _append(ledger_engine, run=number % 2)

    with transaction(ledger_engine) as conn:
        of_run = [event.seq for event in audit.read(conn, run=1)]
        after = [event.seq for event in audit.read(conn, after=4)]
        both = [event.seq for event in audit.read(conn, run=0, after=2, limit=1)]
        none = list(audit.read(conn, limit=0))

    assert (of_run, after, both, none) == ([1, 3, 5], [5, 6], [4], [])


def test_reading_goes_on_over_many_batches(ledger_engine: Engine) -> None:
    """More events than are fetched at a time."""
    with transaction(ledger_engine) as conn:
        for _ in range(2100):
            audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))

    with transaction(ledger_engine) as conn:
        assert [event.seq for event in audit.read(conn)] == list(range(1, 2101))
        assert [event.seq for event in audit.read(conn, limit=1500)] == list(range(1, 1501))
        assert audit.verify(conn).events == 2100


# -- at once ----------------------------------------------------------------


def test_eight_that_append_at_once_make_one_chain(ledger_engine: Engine) -> None:
    """Eight times 50 events: no gap, no fork, and each reads its own number."""

    def fifty(actor: int) -> list[int]:
        return [_append(ledger_engine, actor=f"worker:{actor}").seq for _ in range(50)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [seq for seqs in pool.map(fifty, range(8)) for seq in seqs]

    assert sorted(numbers) == list(range(1, 401))
    with transaction(ledger_engine) as conn:
        verification = audit.verify(conn)
    assert (verification.ok, verification.events) == (True, 400)


def test_times_never_go_back_along_the_chain(ledger_engine: Engine) -> None:
    """The time is taken under the same lock as the number."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _append(ledger_engine), range(100)))

    times = [event.occurred_at for event in _read(ledger_engine)]
    assert times == sorted(times)


def test_what_is_taken_back_leaves_no_gap(ledger_engine: Engine) -> None:
    """The number goes to the next."""
    with ledger_engine.connect() as conn:
        audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))
        conn.rollback()

    assert _append(ledger_engine).seq == 1


@pytest.mark.timeout(60)
def test_an_appender_that_freezes_does_not_stop_the_others(ledger_engine: Engine, ledger_url: str) -> None:
    """It is thrown out after 5 s; its event was never there."""
    freezer = open_ledger(ledger_url)
    frozen = freezer.connect()
    audit.append(frozen, Event(type="plan_read", actor="frozen", outcome="ok"))

    began = time.monotonic()
    event = _append(ledger_engine)
    waited = time.monotonic() - began

    with pytest.raises(LedgerUnreachable), reaching_ledger():
        frozen.commit()
    frozen.close()
    freezer.dispose()
    assert event.seq == 1
    assert 3 < waited < 12


# -- the log ----------------------------------------------------------------


def test_a_committed_event_is_a_log_line(ledger_engine: Engine) -> None:
    """With the same id and the same words, under its type."""
    with structlog.testing.capture_logs() as lines:
        event = _append(ledger_engine, run=3, detail={"a": 1})

    (line,) = lines
    assert (line["event"], line["event_id"], line["log_level"]) == ("plan_read", str(event.event_id), "info")
    assert (line["seq"], line["run"], line["detail"], line["hash"]) == (1, 3, {"a": 1}, event.hash)


def test_an_event_that_was_taken_back_is_no_log_line(ledger_engine: Engine) -> None:
    """The log tells what is in the ledger, and the next one on that connection tells its own."""
    with structlog.testing.capture_logs() as lines, ledger_engine.connect() as conn:
        audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))
        conn.rollback()
        kept = audit.append(conn, Event(type="plan_pinned", actor="a", outcome="ok"))
        assert lines == []
        conn.commit()

    assert [line["event_id"] for line in lines] == [str(kept.event_id)]


def test_a_commit_that_fails_is_no_log_line(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """The line is written when COMMIT has succeeded, not when it is asked for."""

    def append_and_lose_the_connection() -> None:
        with transaction(ledger_engine) as conn:
            audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))
            pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with structlog.testing.capture_logs() as lines, pytest.raises(LedgerUnreachable):
        append_and_lose_the_connection()

    assert lines == []
    assert _read(ledger_engine) == []


def test_a_transaction_opened_in_another_way_is_logged_too(ledger_engine: Engine) -> None:
    """No event goes without its line."""
    with structlog.testing.capture_logs() as lines, ledger_engine.begin() as conn:
        event = audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))

    assert [line["event_id"] for line in lines] == [str(event.event_id)]


def test_an_observer_sees_what_is_committed(ledger_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted is what is in the ledger."""
    seen: list[AuditEvent] = []
    monkeypatch.setattr(audit, "_observers", [])
    audit.observe(seen.append)
    with ledger_engine.connect() as conn:
        audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))
        conn.rollback()

    event = _append(ledger_engine)

    assert seen == [event]


# -- tampering --------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.audit_events SET outcome = 'failed'",
        "DELETE FROM ledger.audit_events",
        "TRUNCATE ledger.audit_events",
        "INSERT INTO ledger.audit_events SELECT * FROM ledger.audit_events",
        "UPDATE ledger.audit_head SET seq = 0",
        "DELETE FROM ledger.audit_head",
        "TRUNCATE ledger.audit_head",
        "INSERT INTO ledger.audit_head VALUES (true, 9, repeat('0', 64))",
        "ALTER TABLE ledger.audit_events DISABLE TRIGGER ALL",
        "DROP TABLE ledger.audit_events",
        "CREATE OR REPLACE FUNCTION ledger.canonical_json(jsonb) RETURNS text LANGUAGE sql RETURN ''",
        "CREATE TABLE ledger.mine ()",
        "SET ROLE stepback_owner",
        "SET session_replication_role = replica",
    ],
)
def test_the_processes_cannot_change_the_log(ledger_engine: Engine, statement: str) -> None:
    """stepback_app may read and call the one function; nothing else."""
    event = _append(ledger_engine)

    with pytest.raises(ProgrammingError) as refusal, transaction(ledger_engine) as conn:
        conn.exec_driver_sql(statement)

    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
    assert _read(ledger_engine) == [event]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.audit_events SET outcome = 'failed'",
        "DELETE FROM ledger.audit_events",
        "TRUNCATE ledger.audit_events",
        "UPDATE ledger.audit_head SET seq = 0",
        "UPDATE ledger.audit_head SET hash = repeat('0', 64)",
        "DELETE FROM ledger.audit_head",
        "TRUNCATE ledger.audit_head",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_a_superuser_has_to_switch_the_guard_off_first(
    ledger_engine: Engine, superuser: psycopg.Connection, statement: str, role: str
) -> None:
    """Replica role, in which ordinary triggers sleep, is not enough."""
    event = _append(ledger_engine)
    superuser.execute(f"SET session_replication_role = {role}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only appended to"):
        superuser.execute(statement)

    assert _read(ledger_engine) == [event]


def test_the_function_minds_no_search_path(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """Objects of the caller's choice do not take the place of the real ones."""
    superuser.execute("CREATE SCHEMA evil AUTHORIZATION stepback_app")
    superuser.execute("GRANT USAGE ON SCHEMA evil TO PUBLIC")
    with transaction(ledger_engine) as conn:
        conn.exec_driver_sql(
            "CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$"
        )
        conn.exec_driver_sql(
            "CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE sql AS $$ SELECT NULL::uuid $$"
        )
        conn.exec_driver_sql("CREATE TEMP TABLE audit_head (seq bigint, hash text)")
        conn.exec_driver_sql("SET LOCAL search_path = evil, pg_temp, pg_catalog")

        event = audit.append(conn, Event(type="plan_read", actor="a", outcome="ok"))

        assert audit.verify(conn).ok
    assert _read(ledger_engine) == [event]


def test_a_login_without_rights_cannot_append(ledger_admin_url: str, superuser: psycopg.Connection) -> None:
    """The function is not PUBLIC's."""
    role = psycopg.sql.Identifier(f"stranger_{uuid4().hex[:8]}")
    superuser.execute(psycopg.sql.SQL("CREATE ROLE {}").format(role))
    try:
        with psycopg.connect(ledger_admin_url) as conn:
            conn.execute(psycopg.sql.SQL("SET ROLE {}").format(role))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT ledger.append_audit_event('x', 'x', 'x', 1, 1, 'x', NULL, NULL, '{}')")
    finally:
        superuser.execute(psycopg.sql.SQL("DROP ROLE {}").format(role))
