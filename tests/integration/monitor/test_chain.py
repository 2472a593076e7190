"""The audit chain as a monitor sees it: walked on every round, all of it now and then, and tried."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledger.model import State
from tests.endings import begin, settle
from worker.monitor.chain import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

_SIGNATURE = "ledger.append_own_event(text, text, text, bigint, integer, text, text, text, jsonb)"
#: Whoever may append: the login of the tests is a member of every group.
_WRITERS = "stepback_app, " + ", ".join(
    f"stepback_ledger_{group}" for group in ("producer", "consent", "worker", "monitor", "operator")
)


@contextmanager
def _unguarded(superuser: psycopg.Connection) -> Iterator[None]:
    """Do as somebody who owns the ledger might."""
    superuser.execute("ALTER TABLE ledger.audit_events DISABLE TRIGGER audit_events_no_change")
    yield
    superuser.execute("ALTER TABLE ledger.audit_events ENABLE ALWAYS TRIGGER audit_events_no_change")


def _rename(superuser: psycopg.Connection, seq: int, actor: str) -> None:
    with _unguarded(superuser):
        superuser.execute("UPDATE ledger.audit_events SET actor = %s WHERE seq = %s", [actor, seq])


def _alerts(chain: Chain) -> list[str]:
    chain.round()
    return [trouble.alert.value for trouble in chain.troubles()]


@pytest.fixture
def events(ledger_engine: Engine) -> int:
    """Write some events; give their number."""
    settle(ledger_engine, begin(ledger_engine), State.COMPLETED)
    settle(ledger_engine, begin(ledger_engine), State.COMPLETED)
    return 6


def test_before_the_first_look_nothing_is_known(ledger_engine: Engine) -> None:
    """So no alert of a monitor before this one is ended."""
    chain = Chain(ledger_engine, 3600)

    assert (chain.holds, chain.writable, chain.verified_at) == (None, None, None)
    assert not chain.is_known({"alertname": "StepbackAuditChainBroken"})


@pytest.mark.usefixtures("events")
def test_a_chain_that_holds_is_no_trouble(ledger_engine: Engine) -> None:
    """It is known to hold, to be writable, and when that was seen; about other alerts the chain knows nothing."""
    chain = Chain(ledger_engine, 3600)

    assert _alerts(chain) == []
    assert (chain.holds, chain.writable) == (True, True)
    assert chain.verified_at is not None
    assert chain.is_known({"alertname": "StepbackAuditUnwritable"})
    assert not chain.is_known({"alertname": "StepbackRunFailed"})


def test_to_try_leaves_nothing_behind(ledger_engine: Engine, superuser: psycopg.Connection, events: int) -> None:
    """Neither an event nor a number: the next event follows the last one."""
    chain = Chain(ledger_engine, 0)

    for _ in range(3):
        chain.round()
    settle(ledger_engine, begin(ledger_engine), State.COMPLETED)

    assert _alerts(chain) == []
    numbers = superuser.execute("SELECT seq FROM ledger.audit_events ORDER BY 1").fetchall()
    assert numbers == [(number,) for number in range(1, events + 4)]


@pytest.mark.usefixtures("events")
def test_a_change_of_an_old_event_is_seen_when_all_is_walked(
    ledger_engine: Engine, superuser: psycopg.Connection
) -> None:
    """Not by a walk over what is new, which begins behind it."""
    seldom, always = Chain(ledger_engine, 3600), Chain(ledger_engine, 0)
    before = _alerts(seldom), _alerts(always)

    _rename(superuser, 2, "nobody")

    assert before == ([], [])
    assert _alerts(seldom) == []
    assert _alerts(always) == ["StepbackAuditChainBroken"]
    assert always.holds is False


def test_a_change_of_a_new_event_is_seen_at_once(
    ledger_engine: Engine, superuser: psycopg.Connection, events: int
) -> None:
    """By the walk over what is new."""
    chain = Chain(ledger_engine, 3600)
    chain.round()
    settle(ledger_engine, begin(ledger_engine), State.COMPLETED)

    _rename(superuser, events + 1, "nobody")

    assert _alerts(chain) == ["StepbackAuditChainBroken"]
    (trouble,) = chain.troubles()
    assert f"event {events + 1} is not as it was written" in trouble.description
    assert trouble.command == "stepback audit verify"


def test_a_chain_that_was_cut_off_is_seen_by_whoever_saw_its_end(
    ledger_engine: Engine, superuser: psycopg.Connection, events: int
) -> None:
    """Its head was set back with it, so that it holds by itself: however often it is walked, it stays trouble."""
    chain = Chain(ledger_engine, 0)
    chain.round()

    with _unguarded(superuser):
        superuser.execute("DELETE FROM ledger.audit_events WHERE seq = %s", [events])

    superuser.execute("ALTER TABLE ledger.audit_head DISABLE TRIGGER USER")
    last = "(SELECT hash FROM ledger.audit_events ORDER BY seq DESC LIMIT 1)"
    superuser.execute(f"UPDATE ledger.audit_head SET seq = seq - 1, hash = {last}")

    assert [_alerts(chain) for _ in range(3)] == [["StepbackAuditChainBroken"]] * 3
    assert _alerts(Chain(ledger_engine, 0)) == []


@pytest.mark.usefixtures("events")
def test_a_chain_that_was_mended_is_no_trouble_any_more(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """All of it is walked again to see that; it was trouble since it was first seen."""
    chain = Chain(ledger_engine, 0)
    (actor,) = superuser.execute("SELECT actor FROM ledger.audit_events WHERE seq = 2").fetchone() or ("",)
    _rename(superuser, 2, "nobody")
    chain.round()
    (first,) = chain.troubles()
    chain.round()
    (second,) = chain.troubles()

    _rename(superuser, 2, actor)

    assert first.since == second.since
    assert (_alerts(chain), chain.holds) == ([], True)


@pytest.mark.usefixtures("events")
def test_a_log_that_takes_nothing_is_trouble(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """Until it does again; the chain itself holds all the while."""
    chain = Chain(ledger_engine, 3600)

    superuser.execute(f"REVOKE EXECUTE ON FUNCTION {_SIGNATURE} FROM {_WRITERS}")
    alerts, writable = _alerts(chain), chain.writable
    superuser.execute(f"GRANT EXECUTE ON FUNCTION {_SIGNATURE} TO {_WRITERS}")

    assert (alerts, writable, chain.holds) == (["StepbackAuditUnwritable"], False, True)
    assert (_alerts(chain), chain.writable) == ([], True)


@pytest.mark.usefixtures("events")
def test_a_ledger_that_takes_no_writes_is_trouble(ledger_engine: Engine, superuser: psycopg.Connection) -> None:
    """As an old primary after a failover is: it can be read, and nothing can be recorded."""
    chain = Chain(ledger_engine, 3600)
    chain.round()

    superuser.execute(f"ALTER ROLE stepback_app IN DATABASE {_name(superuser)} SET default_transaction_read_only = on")
    ledger_engine.dispose()

    assert _alerts(chain) == ["StepbackAuditUnwritable"]


def _name(superuser: psycopg.Connection) -> str:
    return psycopg.sql.Identifier(superuser.info.dbname).as_string()


@pytest.mark.usefixtures("events")
def test_a_ledger_that_is_away_changes_nothing(
    ledger_engine: Engine, superuser: psycopg.Connection, ledger_admin_url: str
) -> None:
    """What was known of the chain stands; that the ledger is away is told by others."""
    chain = Chain(ledger_engine, 0)
    _rename(superuser, 2, "nobody")
    chain.round()
    name = _name(superuser)
    superuser.close()

    with psycopg.connect(_elsewhere(ledger_admin_url), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        ledger_engine.dispose()
        alerts = _alerts(chain)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    assert alerts == ["StepbackAuditChainBroken"]


def _elsewhere(url: str) -> str:
    return psycopg.conninfo.make_conninfo(url, dbname="postgres")
