"""A lease and getting on are two things: a heartbeat keeps the first, only an attempt that asks shows the second."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from ledger.database import transaction
from ledger.watching import OpenRun, look
from tests.endings import begin
from worker.lease import Lease


def _seen(engine: Engine) -> OpenRun:
    with transaction(engine) as conn:
        (run,) = look(conn).runs
    return run


def test_a_heartbeat_is_not_getting_on(ledger_engine: Engine) -> None:
    """Of a worker that hangs in a query the lease lasts, and it is seen to get nowhere."""
    claim = begin(ledger_engine, lease_seconds=1)
    before = _seen(ledger_engine)

    with Lease(ledger_engine, claim, 1):
        time.sleep(0.8)
        after = _seen(ledger_engine)

    assert before.lease_until is not None
    assert after.lease_until is not None
    assert after.lease_until > before.lease_until
    assert after.progressed_at == before.progressed_at


def test_whoever_asks_for_its_lease_is_getting_on(ledger_engine: Engine) -> None:
    """As every chunk of a copy does, and every look before something that must not happen twice."""
    claim = begin(ledger_engine)
    before = _seen(ledger_engine).progressed_at

    with Lease(ledger_engine, claim, 60) as lease:
        lease.check()

    after = _seen(ledger_engine).progressed_at
    assert before is not None
    assert after is not None
    assert after > before
