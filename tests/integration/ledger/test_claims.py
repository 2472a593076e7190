"""Claims: one worker at a time, for as long as its lease lasts, by the ledger's clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from ledger import audit, runs
from ledger.database import transaction
from ledger.errors import LeaseLost
from ledger.model import Kind, State

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Engine

    from ledger.model import Command
    from ledger.runs import Claim
    from tests.integration.ledger.conftest import Queue, Take


def _claim(engine: Engine, command: Command, worker: str = "w2", lease_seconds: float = 60) -> Claim | None:
    return runs.claim(engine, command.command_id, worker=worker, lease_seconds=lease_seconds)


def _lapse(superuser: psycopg.Connection) -> None:
    superuser.execute(
        "UPDATE ledger.runs SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'in_progress'"
    )


def test_a_claim_carries_the_command(ledger_engine: Engine, queue: Queue) -> None:
    """The worker asks the ledger for everything; the doorbell said the id only."""
    command = queue()

    claim = _claim(ledger_engine, command)

    assert claim is not None
    assert claim.command == command
    assert (claim.attempt, claim.worker, claim.command.kind) == (1, "w2", Kind.ROLLBACK)
    assert 0 <= claim.trying_seconds < 1


def test_a_claimed_run_is_in_progress(ledger_engine: Engine, take: Take) -> None:
    """And says since when."""
    claim = take()

    with transaction(ledger_engine) as conn:
        run = runs.find(conn, claim.run)
    assert (run.state, run.attempt, run.started_at) == (State.IN_PROGRESS, 1, claim.claimed_first_at)


def test_a_claim_is_audited(ledger_engine: Engine, take: Take) -> None:
    """By whom, which attempt, of what."""
    claim = take()

    with transaction(ledger_engine) as conn:
        _submitted, event = audit.read(conn, run=claim.run)
    assert (event.type, event.actor, event.attempt, event.target) == ("run_claimed", "worker:w1", 1, "shop")
    assert event.detail["command_id"] == str(claim.command.command_id)


def test_what_nobody_submitted_cannot_be_claimed(ledger_engine: Engine) -> None:
    """An id that the doorbell made up, or kept from before a restore, leads to nothing."""
    assert runs.claim(ledger_engine, uuid4(), worker="w", lease_seconds=1) is None


def test_of_eight_that_ring_at_once_one_gets_it(ledger_engine: Engine, queue: Queue) -> None:
    """The doorbell may repeat itself as it likes."""
    command = queue()

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda number: _claim(ledger_engine, command, f"w{number}"), range(8)))

    assert [claim.attempt for claim in claims if claim] == [1]


def test_of_eight_that_find_a_lapsed_lease_one_gets_it(
    ledger_engine: Engine, take: Take, superuser: psycopg.Connection
) -> None:
    """Also when it is about the second attempt."""
    command = take().command
    _lapse(superuser)

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda number: _claim(ledger_engine, command, f"w{number}"), range(8)))

    assert [claim.attempt for claim in claims if claim] == [2]


def test_while_the_lease_lasts_nobody_else_can_claim(ledger_engine: Engine, take: Take) -> None:
    """Whoever they are."""
    command = take().command

    assert _claim(ledger_engine, command) is None
    assert _claim(ledger_engine, command, "w1") is None


def test_a_lease_lapses_by_itself(ledger_engine: Engine, take: Take) -> None:
    """A worker that was killed needs not be told of."""
    first = take(lease_seconds=0.3)
    assert _claim(ledger_engine, first.command) is None

    time.sleep(0.35)
    second = _claim(ledger_engine, first.command)

    assert second is not None
    assert second.attempt == 2
    assert second.claimed_first_at == first.claimed_first_at
    assert second.trying_seconds >= 0.3


def test_a_renewed_lease_goes_on(ledger_engine: Engine, take: Take) -> None:
    """From the moment of renewing."""
    claim = take(lease_seconds=0.3)

    renewed = runs.renew(ledger_engine, claim, 60)

    time.sleep(0.35)
    assert renewed
    assert _claim(ledger_engine, claim.command) is None


def test_a_lapsed_lease_can_be_renewed_until_somebody_claims(
    ledger_engine: Engine, take: Take, superuser: psycopg.Connection
) -> None:
    """Late is not lost: lost is when another has it."""
    claim = take()
    _lapse(superuser)
    assert runs.renew(ledger_engine, claim, 60)

    _lapse(superuser)
    assert _claim(ledger_engine, claim.command) is not None

    assert not runs.renew(ledger_engine, claim, 60)


def test_a_released_run_can_be_claimed_after_a_while(ledger_engine: Engine, take: Take) -> None:
    """Not before, and as a new attempt."""
    first = take()

    runs.release(ledger_engine, first, after_seconds=0.3)

    assert _claim(ledger_engine, first.command) is None
    time.sleep(0.35)
    second = _claim(ledger_engine, first.command)
    assert second is not None
    assert second.attempt == 2


def test_a_heartbeat_that_comes_after_the_release_does_not_take_it_back(ledger_engine: Engine, take: Take) -> None:
    """Renewing runs on a thread of its own, and may be late."""
    claim = take()
    runs.release(ledger_engine, claim, after_seconds=0)

    assert not runs.renew(ledger_engine, claim, 60)

    assert _claim(ledger_engine, claim.command) is not None


def test_an_older_attempt_cannot_release(ledger_engine: Engine, take: Take, superuser: psycopg.Connection) -> None:
    """It would give up what another holds."""
    first = take()
    _lapse(superuser)
    _claim(ledger_engine, first.command)

    with pytest.raises(LeaseLost):
        runs.release(ledger_engine, first, after_seconds=0)


def test_a_finished_run_cannot_be_claimed(ledger_engine: Engine, take: Take) -> None:
    """An old message that comes back finds nothing to do."""
    claim = take()
    runs.settle(ledger_engine, claim, state=State.COMPLETED, error=None, blocked_seconds=None, preserved=[])

    assert _claim(ledger_engine, claim.command) is None


def test_a_queued_run_is_unfinished(ledger_engine: Engine, queue: Queue) -> None:
    """The oldest comes first."""
    commands = [queue() for _ in range(3)]

    assert runs.unfinished(ledger_engine, quiet_seconds=0) == [command.command_id for command in commands]


def test_what_was_rung_for_is_left_alone_for_a_while(ledger_engine: Engine, queue: Queue) -> None:
    """Writing it down counts: whoever submits also rings."""
    command = queue()
    assert runs.unfinished(ledger_engine, quiet_seconds=60) == []

    time.sleep(0.3)

    assert runs.unfinished(ledger_engine, quiet_seconds=0.3) == [command.command_id]
    assert runs.unfinished(ledger_engine, quiet_seconds=0.3) == []


def test_a_run_with_a_worker_is_not_rung_for(ledger_engine: Engine, take: Take) -> None:
    """As long as its lease lasts."""
    take()

    assert runs.unfinished(ledger_engine, quiet_seconds=0) == []


def test_a_lapsed_lease_is_rung_for_at_once(ledger_engine: Engine, take: Take, superuser: psycopg.Connection) -> None:
    """However lately the ring was that its dead worker answered."""
    claim = take()
    _lapse(superuser)

    assert runs.unfinished(ledger_engine, quiet_seconds=60) == [claim.command.command_id]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.NEEDS_OPERATOR])
def test_a_finished_run_is_never_rung_for(ledger_engine: Engine, take: Take, state: State) -> None:
    """Nothing is left to do by itself."""
    runs.settle(ledger_engine, take(), state=state, error=None, blocked_seconds=None, preserved=[])

    assert runs.unfinished(ledger_engine, quiet_seconds=0) == []


def test_two_reconcilers_never_ring_for_the_same(
    ledger_engine: Engine, queue: Queue, superuser: psycopg.Connection
) -> None:
    """What one is about to ring for, the other passes over without waiting."""
    commands = {queue().command_id for _ in range(40)}
    superuser.execute("UPDATE ledger.runs SET rung_at = NULL")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: runs.unfinished(ledger_engine, quiet_seconds=60), range(4)))

    rung = [command_id for answer in answers for command_id in answer]
    assert len(rung) == len(set(rung))
    assert set(rung) <= commands


def test_a_run_that_somebody_is_writing_to_is_passed_over(
    ledger_engine: Engine, queue: Queue, superuser: psycopg.Connection
) -> None:
    """The reconciler waits for nobody."""
    busy, idle = queue(), queue()

    with superuser.transaction():
        superuser.execute("SELECT FROM ledger.runs WHERE command_id = %s FOR UPDATE", [busy.command_id])
        rung = runs.unfinished(ledger_engine, quiet_seconds=0)

    assert rung == [idle.command_id]
