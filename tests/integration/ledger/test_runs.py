"""Runs: what an attempt writes stays together, and an attempt that lost its run writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from ledger import audit, runs
from ledger.canonical import canonical, sha256
from ledger.claims import holding
from ledger.database import transaction
from ledger.errors import LeaseLost, UnknownRun
from ledger.model import TERMINAL, Phase, Preserved, RunError, State, StepRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from ledger.model import AuditEvent, Run
    from ledger.runs import Claim
    from tests.integration.ledger.conftest import Queue, Take

STEP = StepRecord(Phase.APPLY, "move table public.prices", "completed", 0.25)
KEPT = Preserved("table", "public.prices", "moved", 3, 8192, "emergency_backup_r1_abcdef_1")

WRITES: dict[str, Callable[[Engine, Claim], object]] = {
    "release": lambda engine, claim: runs.release(engine, claim, after_seconds=1),
    "enter": lambda engine, claim: runs.enter(engine, claim, Phase.APPLY),
    "pin": lambda engine, claim: runs.pin(engine, claim, plan_sha256="b" * 64, impact_sha256="c" * 64),
    "record_step": lambda engine, claim: runs.record_step(engine, claim, STEP, {}),
    "record_event": lambda engine, claim: runs.record_event(engine, claim, "locks_taken", "ok"),
    "note_apply": lambda engine, claim: runs.note_apply(engine, claim, system_identifier="1", database_oid=2, xid="3"),
    "settle": lambda engine, claim: runs.settle(
        engine, claim, state=State.COMPLETED, error=None, blocked_seconds=0.1, preserved=[KEPT]
    ),
}


def _find(engine: Engine, run: int) -> Run:
    with transaction(engine) as conn:
        return runs.find(conn, run)


def _last(engine: Engine, run: int) -> AuditEvent:
    with transaction(engine) as conn:
        return list(audit.read(conn, run=run))[-1]


def _everything(superuser: psycopg.Connection) -> list[object]:
    """Return all that a write of an attempt could change."""
    tables = ["runs", "steps", "applies", "preserved", "audit_events", "audit_head"]
    return [superuser.execute(f"SELECT * FROM ledger.{table} ORDER BY 1, 2").fetchall() for table in tables]


@pytest.mark.parametrize("write", WRITES)
def test_an_attempt_writes_while_it_has_the_run(ledger_engine: Engine, take: Take, write: str) -> None:
    """Every kind of write is possible at any time while it is in progress."""
    WRITES[write](ledger_engine, take())


@pytest.mark.parametrize("write", WRITES)
def test_an_older_attempt_writes_nothing(
    ledger_engine: Engine, take: Take, superuser: psycopg.Connection, write: str
) -> None:
    """It hears LeaseLost, and not one row is changed or added, in the audit log neither."""
    old = take(lease_seconds=0)
    take(old.command)
    before = _everything(superuser)

    with pytest.raises(LeaseLost):
        WRITES[write](ledger_engine, old)

    assert _everything(superuser) == before


@pytest.mark.parametrize("write", WRITES)
def test_after_the_end_nothing_is_written(
    ledger_engine: Engine, take: Take, superuser: psycopg.Connection, write: str
) -> None:
    """Not even by the attempt that ended it."""
    claim = take()
    runs.settle(ledger_engine, claim, state=State.FAILED, error=RunError("x", "y"), blocked_seconds=None, preserved=[])
    before = _everything(superuser)

    with pytest.raises(LeaseLost):
        WRITES[write](ledger_engine, claim)

    assert _everything(superuser) == before


def test_a_claim_waits_for_a_write_that_has_begun(ledger_engine: Engine, take: Take) -> None:
    """No event of the older attempt comes to stand after the claim of the newer."""
    old = take(lease_seconds=0)

    with ThreadPoolExecutor(1) as pool:
        with holding(ledger_engine, old):
            claimed = pool.submit(runs.claim, ledger_engine, old.command.command_id, worker="w2", lease_seconds=60)
            assert wait([claimed], timeout=0.5).not_done == {claimed}
        claim = claimed.result()

    assert claim is not None
    assert claim.attempt == 2


def test_the_phase_is_shown(ledger_engine: Engine, take: Take) -> None:
    """People see where the run is."""
    claim = take()

    runs.enter(ledger_engine, claim, Phase.PRESERVE)

    assert _find(ledger_engine, claim.run).phase is Phase.PRESERVE


def test_what_preflight_found_is_pinned(ledger_engine: Engine, take: Take) -> None:
    """It takes the place of what was pinned at submit."""
    claim = take()
    assert _find(ledger_engine, claim.run).plan_sha256 == "a" * 64

    runs.pin(ledger_engine, claim, plan_sha256="b" * 64, impact_sha256="c" * 64)

    run = _find(ledger_engine, claim.run)
    assert (run.plan_sha256, run.impact_sha256) == ("b" * 64, "c" * 64)


def test_steps_are_kept_in_order_over_all_attempts(ledger_engine: Engine, take: Take) -> None:
    """What the first attempt did is still there when the second goes on."""
    first = take(lease_seconds=0)
    steps = [replace(STEP, step=name) for name in ("one", "two", "three")]
    runs.record_step(ledger_engine, first, steps[0], {})

    second = take(first.command)
    runs.record_step(ledger_engine, second, steps[1], {})
    runs.record_step(ledger_engine, second, steps[2], {})

    found = _find(ledger_engine, first.run).steps
    assert [replace(step, ended_at=None) for step in found] == steps
    times = [step.ended_at for step in found if step.ended_at is not None]
    assert len(times) == 3
    assert times == sorted(times)


def test_a_step_keeps_what_it_says_of_itself(ledger_engine: Engine, take: Take) -> None:
    """Section, detail and the time at which it ended by the target's clock are kept, and told in the audit event."""
    claim, ended_at = take(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    step = replace(STEP, section="VERIFICATION", detail="5 gate(s) hold", ended_at=ended_at)

    runs.record_step(ledger_engine, claim, step, {})

    assert _find(ledger_engine, claim.run).steps == (step,)
    told = _last(ledger_engine, claim.run).detail
    assert (told["section"], told["detail"]) == ("VERIFICATION", "5 gate(s) hold")


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_step_is_an_audit_event(ledger_engine: Engine, take: Take, outcome: str) -> None:
    """With phase, name, outcome, its time in whole milliseconds, and what else is to be said."""
    claim = take()

    runs.record_step(ledger_engine, claim, replace(STEP, outcome=outcome), {"rows": 3})

    event = _last(ledger_engine, claim.run)
    assert (event.type, event.outcome, event.phase, event.step) == (f"step_{outcome}", outcome, "apply", STEP.step)
    assert (event.attempt, event.actor, event.target) == (1, "worker:w1", "shop")
    assert event.detail == {"rows": 3, "milliseconds": 250}


def test_a_step_whose_event_cannot_be_written_is_not_written(
    ledger_engine: Engine, take: Take, superuser: psycopg.Connection
) -> None:
    """Row and event stand together or not at all."""
    claim = take()
    before = _everything(superuser)

    with pytest.raises(TypeError):
        runs.record_step(ledger_engine, claim, STEP, {"ratio": 0.5})  # type: ignore[dict-item]  # that is the point

    assert _everything(superuser) == before


def test_an_event_says_what_it_was_given(ledger_engine: Engine, take: Take) -> None:
    """Phase and step where there is one."""
    claim = take()

    runs.record_event(ledger_engine, claim, "lock_waited", "timed_out", Phase.APPLY, "lock prices", {"blockers": [42]})

    event = _last(ledger_engine, claim.run)
    assert (event.type, event.outcome, event.phase, event.step, event.detail) == (
        "lock_waited",
        "timed_out",
        "apply",
        "lock prices",
        {"blockers": [42]},
    )


def test_every_apply_is_noted_with_its_attempt_and_try(ledger_engine: Engine, take: Take) -> None:
    """So that an unclear COMMIT of any of them can be looked up."""
    first = take(lease_seconds=0)
    assert runs.applies(ledger_engine, first.run) == []
    for xid in ("901", "902"):
        runs.note_apply(ledger_engine, first, system_identifier="7" * 19, database_oid=4294967295, xid=xid)

    second = take(first.command)
    runs.note_apply(ledger_engine, second, system_identifier="7" * 19, database_oid=4294967295, xid="903")

    noted = runs.applies(ledger_engine, first.run)
    assert [(apply.attempt, apply.ordinal, apply.xid) for apply in noted] == [
        (1, 1, "901"),
        (1, 2, "902"),
        (2, 1, "903"),
    ]
    assert {(apply.system_identifier, apply.database_oid) for apply in noted} == {("7" * 19, 4294967295)}


def test_a_settled_run_tells_how_it_ended(ledger_engine: Engine, take: Take) -> None:
    """State, time, error, how long it blocked, and what it keeps, in its order."""
    claim = take()
    kept = [KEPT, Preserved("view", "public.cheap", "defined", None, None, None)]

    runs.settle(
        ledger_engine,
        claim,
        state=State.FAILED,
        error=RunError("gate_failed", "a gate did not hold"),
        blocked_seconds=0.125,
        preserved=kept,
    )

    run = _find(ledger_engine, claim.run)
    assert (run.state, run.error) == (State.FAILED, RunError("gate_failed", "a gate did not hold"))
    assert run.blocked_seconds == 0.125
    assert run.finished_at is not None
    assert run.preserved == tuple(kept)


def test_the_end_is_audited_with_a_hash_of_what_is_preserved(ledger_engine: Engine, take: Take) -> None:
    """The chain holds the list, however long, by its hash."""
    claim = take()
    runs.enter(ledger_engine, claim, Phase.FINISH)
    runs.pin(ledger_engine, claim, plan_sha256="b" * 64, impact_sha256="c" * 64)

    runs.settle(
        ledger_engine,
        claim,
        state=State.COMPLETED,
        error=None,
        blocked_seconds=0.0421,
        preserved=[KEPT],
        detail={"tries": 2},
    )

    event = _last(ledger_engine, claim.run)
    listed = canonical(
        [
            {
                "kind": KEPT.kind,
                "name": KEPT.name,
                "how": KEPT.how,
                "rows": KEPT.rows,
                "bytes": KEPT.bytes,
                "quarantine": KEPT.quarantine,
            }
        ]
    )
    assert (event.type, event.outcome, event.phase, event.attempt) == ("run_completed", "completed", "finish", 1)
    assert event.detail == {
        "error": None,
        "blocked_milliseconds": 42,
        "plan_sha256": "b" * 64,
        "impact_sha256": "c" * 64,
        "preserved": 1,
        "preserved_sha256": sha256(listed),
        "tries": 2,
    }


def test_no_message_keeps_a_run_from_ending(ledger_engine: Engine, take: Take) -> None:
    """What cannot be stored in it is replaced."""
    claim = take()
    error = RunError("plan_refused", "near \0 and \ud800")

    runs.settle(ledger_engine, claim, state=State.REFUSED, error=error, blocked_seconds=None, preserved=[])

    assert _find(ledger_engine, claim.run).error == RunError("plan_refused", "near \ufffd and ?")


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
def test_a_run_does_not_end_in_a_state_that_goes_on(ledger_engine: Engine, take: Take, state: State) -> None:
    """Settling is for ends."""
    with pytest.raises(ValueError, match="does not end"):
        runs.settle(ledger_engine, take(), state=state, error=None, blocked_seconds=None, preserved=[])


@pytest.mark.parametrize("ended", sorted(TERMINAL))
def test_nothing_leaves_an_end(ledger_engine: Engine, take: Take, superuser: psycopg.Connection, ended: State) -> None:
    """Whoever tries: the superuser too, and in replica role."""
    runs.settle(ledger_engine, take(), state=ended, error=None, blocked_seconds=None, preserved=[])

    for role in ("origin", "replica"):
        superuser.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.errors.CheckViolation, match="nothing leaves that state"):
            superuser.execute("UPDATE ledger.runs SET state = 'queued', finished_at = NULL")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("queued", "completed"),
        ("queued", "awaiting_approval"),
        ("in_progress", "queued"),
        ("awaiting_approval", "failed"),
    ],
)
def test_there_are_ways_that_no_run_goes(queue: Queue, superuser: psycopg.Connection, before: str, after: str) -> None:
    """A state that was never passed through cannot be left."""
    queue()
    if before != "queued":
        superuser.execute(
            "UPDATE ledger.runs SET state = 'in_progress', attempt = 1, started_at = now(), lease_until = now()"
        )
        superuser.execute("UPDATE ledger.runs SET state = %s", [before])

    with pytest.raises(psycopg.errors.CheckViolation, match=f"no way leads from {before} to {after}"):
        superuser.execute("UPDATE ledger.runs SET state = %s", [after])


def test_an_approved_run_goes_on_where_it_was(take: Take, superuser: psycopg.Connection) -> None:
    """in_progress → awaiting_approval → queued → in_progress, as the next attempt."""
    claim = take()
    for state in ("awaiting_approval", "queued"):
        superuser.execute("UPDATE ledger.runs SET state = %s", [state])

    assert take(claim.command).attempt == 2


def test_an_attempt_number_never_falls(take: Take, superuser: psycopg.Connection) -> None:
    """An older attempt would be let in again."""
    take(take(lease_seconds=0).command)

    with pytest.raises(psycopg.errors.CheckViolation, match="only rises"):
        superuser.execute("UPDATE ledger.runs SET attempt = 1")


def test_an_unknown_run_is_told_so(ledger_engine: Engine) -> None:
    """By number, however large, and by command."""
    with transaction(ledger_engine) as conn:
        for number in (1, -1, 10**30):
            with pytest.raises(UnknownRun):
                runs.find(conn, number)
        with pytest.raises(UnknownRun):
            runs.find_by_command(conn, uuid4())


def test_a_run_is_found_by_its_command(ledger_engine: Engine, take: Take) -> None:
    """The same run, with its steps."""
    claim = take()
    runs.record_step(ledger_engine, claim, STEP, {})

    with transaction(ledger_engine) as conn:
        assert runs.find_by_command(conn, claim.command.command_id) == runs.find(conn, claim.run)


def test_runs_are_listed_newest_first(ledger_engine: Engine, queue: Queue) -> None:
    """At most as many as asked for."""
    commands = [queue() for _ in range(4)]

    with transaction(ledger_engine) as conn:
        listed = runs.list_runs(conn, limit=3)

    assert [run.command_id for run in listed] == [command.command_id for command in reversed(commands)][:3]


def test_runs_are_listed_by_target_and_state(ledger_engine: Engine, queue: Queue, take: Take) -> None:
    """Each narrows the list."""
    claimed = take(queue(target="bank"))
    waiting = queue(target="bank")
    queue(target="shop")

    with transaction(ledger_engine) as conn:
        bank = [run.command_id for run in runs.list_runs(conn, target="bank")]
        queued = [run.command_id for run in runs.list_runs(conn, target="bank", state=State.QUEUED)]

    assert bank == [waiting.command_id, claimed.command.command_id]
    assert queued == [waiting.command_id]
