"""Consent in the ledger: what approving, cancelling and waking do to a run, state by state."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from ledger import audit, consent, runs
from ledger.database import transaction
from ledger.errors import LeaseLost
from ledger.model import TERMINAL, AuditEvent, Run, State
from ledger.rights import same_party
from tests.endings import settle

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.integration.ledger.conftest import Queue, Take

PLAN, IMPACT, OTHER = "a" * 64, "1a" * 32, "2b" * 32
#: Who asks, as the fixtures of this folder have it.
REQUESTER = "operator"

_APPROVE = text(
    "SELECT verdict, event IS NOT NULL FROM ledger.approve(:run, :by, :plan, :impact,"
    " clock_timestamp() + CAST(:valid AS interval), :signed)"
)
_CANCEL = text("SELECT verdict, event IS NOT NULL FROM ledger.cancel(:run, :by, :signed)")


def approve(engine: Engine, run: int, **changes: object) -> tuple[str, bool]:
    """Call the function; return its verdict, and whether it gave an event."""
    values = {"run": run, "by": "grace", "plan": PLAN, "impact": IMPACT, "valid": timedelta(hours=1), "signed": "e"}
    with transaction(engine) as conn:
        verdict, event = conn.execute(_APPROVE, {**values, **changes}).one()
    return verdict, event


def cancel(engine: Engine, run: int, *, by: str = "grace", signed: str = "e") -> tuple[str, bool]:
    """Call the function; return its verdict, and whether it gave an event."""
    with transaction(engine) as conn:
        verdict, event = conn.execute(_CANCEL, {"run": run, "by": by, "signed": signed}).one()
    return verdict, event


def in_state(engine: Engine, command_id: UUID, state: State) -> int:
    """Bring a queued run into a state, with the plan and impact that these tests approve; return its number."""
    if state is State.QUEUED:
        with transaction(engine) as conn:
            return next(run.run for run in runs.list_runs(conn) if run.command_id == command_id)
    claim = runs.claim(engine, command_id, worker="w1", lease_seconds=60)
    assert claim is not None
    runs.pin(engine, claim, plan_sha256=PLAN, impact_sha256=IMPACT)
    if state is State.AWAITING_APPROVAL:
        consent.await_approval(engine, claim, "nobody has approved it yet")
    elif state in TERMINAL:
        settle(engine, claim, state)
    return claim.run


def find(engine: Engine, run: int) -> Run:
    """Return a run."""
    with transaction(engine) as conn:
        return runs.find(conn, run)


def events(engine: Engine, run: int) -> list[AuditEvent]:
    """Return what the audit log says of consent to a run, and see that the chain is sound."""
    consents = {"run_approved", "run_cancelled", "cancellation_requested"}
    with transaction(engine) as conn:
        assert audit.verify(conn).ok
        found = [event for event in audit.read(conn) if event.run == run and event.type in consents]
    # What a worker says of how its run ended is not consent.
    return [event for event in found if not event.actor.startswith("worker:")]


@pytest.fixture
def waiting(ledger_engine: Engine, queue: Queue) -> int:
    """Give the number of a run that waits for an approval."""
    return in_state(ledger_engine, queue().command_id, State.AWAITING_APPROVAL)


# -- approve ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "approved"),
        ({"by": f"{REQUESTER}2"}, "approved"),
        ({"by": f"{REQUESTER} "}, "approved"),
        ({"by": f"x/{REQUESTER}"}, "approved"),
        ({"by": REQUESTER}, "not_allowed"),
        ({"by": f"{REQUESTER}/x"}, "not_allowed"),
        ({"by": f"{REQUESTER}/"}, "not_allowed"),
        ({"by": f"{REQUESTER}/x/y"}, "not_allowed"),
        ({"impact": OTHER}, "impact_changed"),
        ({"impact": None}, "impact_changed"),
        ({"plan": OTHER}, "impact_changed"),
        ({"plan": None}, "impact_changed"),
        ({"valid": timedelta(seconds=-1)}, "expired"),
        ({"valid": timedelta(0)}, "expired"),
        # Whoever may not approve learns nothing about what the run would do.
        ({"by": REQUESTER, "impact": OTHER, "valid": timedelta(-1)}, "not_allowed"),
        ({"impact": OTHER, "valid": timedelta(-1)}, "impact_changed"),
    ],
    ids=str,
)
def test_a_waiting_run_goes_on_for_the_right_approval(
    ledger_engine: Engine, waiting: int, changes: dict[str, object], verdict: str
) -> None:
    """Approved by another party for what it would do, in time, it is queued and audited; else nothing happens."""
    assert approve(ledger_engine, waiting, **changes) == (verdict, verdict == "approved")

    approved = verdict == "approved"
    with transaction(ledger_engine) as conn:
        assert consent.approvals(conn, waiting) == ["e"] * approved
    assert find(ledger_engine, waiting).state is (State.QUEUED if approved else State.AWAITING_APPROVAL)
    assert [event.type for event in events(ledger_engine, waiting)] == ["run_approved"] * approved


@pytest.mark.parametrize("state", [state for state in State if state is not State.AWAITING_APPROVAL])
def test_what_does_not_wait_is_not_approved(ledger_engine: Engine, queue: Queue, state: State) -> None:
    """In any other state an approval is not kept for later: it may be another impact that it waits with then."""
    run = in_state(ledger_engine, queue().command_id, state)

    assert approve(ledger_engine, run) == ("not_awaiting", False)

    assert find(ledger_engine, run).state is state
    with transaction(ledger_engine) as conn:
        assert consent.approvals(conn, run) == []
    assert events(ledger_engine, run) == []


@pytest.mark.parametrize("state", [state for state in State if state is not State.AWAITING_APPROVAL])
def test_the_same_approval_again_changes_nothing(ledger_engine: Engine, queue: Queue, state: State) -> None:
    """Sent twice, since the answer was lost, it is there once, whatever became of the run; another one is not due."""
    command_id = queue().command_id
    waiting = in_state(ledger_engine, command_id, State.AWAITING_APPROVAL)
    approve(ledger_engine, waiting, signed="one")
    in_state(ledger_engine, command_id, state)

    assert approve(ledger_engine, waiting, signed="one") == ("known", False)
    assert approve(ledger_engine, waiting, signed="other") == ("not_awaiting", False)
    assert approve(ledger_engine, waiting, signed="one", by="mallory") == ("not_awaiting", False)

    with transaction(ledger_engine) as conn:
        assert consent.approvals(conn, waiting) == ["one"]
    assert [event.type for event in events(ledger_engine, waiting)] == ["run_approved"]


def test_where_a_run_waits_anew_its_approval_is_judged_anew(ledger_engine: Engine, queue: Queue) -> None:
    """An approval of what the run would have done is none of what it would do now, though it is known."""
    command_id = queue().command_id
    run = in_state(ledger_engine, command_id, State.AWAITING_APPROVAL)
    approve(ledger_engine, run)
    claim = runs.claim(ledger_engine, command_id, worker="w1", lease_seconds=60)
    assert claim is not None
    runs.pin(ledger_engine, claim, plan_sha256=PLAN, impact_sha256=OTHER)
    consent.await_approval(ledger_engine, claim, "it would do something else now")

    assert approve(ledger_engine, run) == ("impact_changed", False)
    assert find(ledger_engine, run).state is State.AWAITING_APPROVAL


def test_a_run_that_is_not_there_is_neither_approved_nor_cancelled(ledger_engine: Engine) -> None:
    """The functions say so by the verdict that ended runs get."""
    assert approve(ledger_engine, 4711) == ("not_awaiting", False)
    assert cancel(ledger_engine, 4711) == ("ended", False)


def test_of_many_approvals_at_once_one_counts(ledger_engine: Engine, waiting: int) -> None:
    """The run is queued once, and audited once."""
    with ThreadPoolExecutor(4) as pool:
        verdicts = Counter(pool.map(lambda number: approve(ledger_engine, waiting, signed=str(number))[0], range(4)))

    assert verdicts == {"approved": 1, "not_awaiting": 3}
    assert [event.type for event in events(ledger_engine, waiting)] == ["run_approved"]


def test_an_approval_is_audited_with_what_it_was_for(ledger_engine: Engine, waiting: int) -> None:
    """Who, whose wish, which plan and impact, and the hash of the signed text, but not the text."""
    approve(ledger_engine, waiting, signed="the signed text")

    (event,) = events(ledger_engine, waiting)
    assert (event.actor, event.outcome, event.target) == ("grace", "ok", "shop")
    assert (event.detail["requested_by"], event.detail["impact_sha256"]) == (REQUESTER, IMPACT)
    assert "the signed text" not in repr(event)


# -- cancel -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "verdict", "then"),
    [
        (State.QUEUED, "cancelled", State.CANCELLED),
        (State.AWAITING_APPROVAL, "cancelled", State.CANCELLED),
        (State.IN_PROGRESS, "requested", State.IN_PROGRESS),
        *((state, "ended", state) for state in sorted(TERMINAL)),
    ],
)
def test_cancelling_by_state(ledger_engine: Engine, queue: Queue, state: State, verdict: str, then: State) -> None:
    """What no worker has ends there and then; what one has is left to the worker; what has ended stays as it is."""
    run = in_state(ledger_engine, queue().command_id, state)

    assert cancel(ledger_engine, run) == (verdict, verdict != "ended")

    found = find(ledger_engine, run)
    told = {"cancelled": ["run_cancelled"], "requested": ["cancellation_requested"], "ended": []}[verdict]
    assert (found.state, found.finished_at is None) == (then, then not in TERMINAL)
    assert [(event.type, event.actor) for event in events(ledger_engine, run)] == [(each, "grace") for each in told]
    with transaction(ledger_engine) as conn:
        assert consent.cancellations(conn, run) == ["e"] * len(told)
    if verdict == "cancelled":
        assert found.error is not None
        assert (found.error.code, "grace" in found.error.message) == ("cancelled", True)


def test_the_same_cancellation_again_changes_nothing(ledger_engine: Engine, take: Take) -> None:
    """Sent twice it is there once; another one is kept beside it, since the first may count for nothing by then."""
    run = take().run

    said = [cancel(ledger_engine, run, signed=signed) for signed in ("one", "one", "other")]

    assert said == [("requested", True), ("known", False), ("requested", True)]
    with transaction(ledger_engine) as conn:
        assert consent.cancellations(conn, run) == ["one", "other"]


def test_the_same_cancellation_again_is_known_after_the_end(ledger_engine: Engine, waiting: int) -> None:
    """Whoever got no answer to a cancellation that has ended the run gets one now; another one comes too late."""
    said = [cancel(ledger_engine, waiting, signed=signed) for signed in ("one", "one", "other")]
    said.append(cancel(ledger_engine, waiting, signed="one", by="mallory"))

    assert said == [("cancelled", True), ("known", False), ("ended", False), ("ended", False)]
    assert [event.type for event in events(ledger_engine, waiting)] == ["run_cancelled"]


def test_a_cancelled_run_is_not_claimed(ledger_engine: Engine, queue: Queue) -> None:
    """Redis may still ring for it: there is nothing to take."""
    command = queue()
    with transaction(ledger_engine) as conn:
        (run,) = (found.run for found in runs.list_runs(conn))
    cancel(ledger_engine, run)

    assert runs.claim(ledger_engine, command.command_id, worker="w1", lease_seconds=60) is None


def test_approved_and_cancelled_at_once_it_ends_cancelled(ledger_engine: Engine, waiting: int) -> None:
    """Whichever comes first: a cancellation is not lost."""
    with ThreadPoolExecutor(2) as pool:
        approved = pool.submit(approve, ledger_engine, waiting)
        cancelled = pool.submit(cancel, ledger_engine, waiting)

    assert cancelled.result()[0] == "cancelled"
    assert approved.result()[0] in {"approved", "not_awaiting"}
    assert find(ledger_engine, waiting).state is State.CANCELLED


# -- wait and wake ----------------------------------------------------------


def test_waiting_gives_the_lease_up(ledger_engine: Engine, take: Take) -> None:
    """Whoever gives a run up to wait for an approval may not write for it any more, and it is not rung for."""
    claim = take()
    consent.await_approval(ledger_engine, claim, "nobody has approved it yet")

    assert find(ledger_engine, claim.run).state is State.AWAITING_APPROVAL
    assert runs.unfinished(ledger_engine, quiet_seconds=0) == []
    with pytest.raises(LeaseLost):
        consent.await_approval(ledger_engine, claim, "again")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("passed", [True, False])
def test_only_what_waits_in_vain_is_woken(
    superuser: psycopg.Connection, ledger_engine: Engine, queue: Queue, state: State, *, passed: bool
) -> None:
    """A run that waits for longer than its command counts is queued, to be refused; every other one stays."""
    command = queue()
    run = in_state(ledger_engine, command.command_id, state)
    if passed:
        superuser.execute("UPDATE ledger.commands SET not_after = clock_timestamp()")
    woken = passed and state is State.AWAITING_APPROVAL

    assert consent.wake_expired(ledger_engine) == int(woken)

    assert find(ledger_engine, run).state is (State.QUEUED if woken else state)


# -- parties and privileges -------------------------------------------------

_NAMES = ("a", "a/", "a/b", "a/b/c", "ab", "ab/c", "A", "a ", "/", "/a", "//", "b/a", "\u0430", "a\u200b", "")


def test_python_and_sql_agree_on_who_is_one_party(superuser: psycopg.Connection) -> None:
    """The door and the worker ask one, the ledger the other: no name may be another party to one of them only."""
    for one in _NAMES:
        for other in _NAMES:
            said = superuser.execute("SELECT ledger.same_party(%s, %s)", [one, other]).fetchone()
            assert said == (same_party(one, other),), (one, other)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.approvals DEFAULT VALUES",
        "INSERT INTO ledger.cancellations DEFAULT VALUES",
        "UPDATE ledger.approvals SET approved_by = 'x'",
        "DELETE FROM ledger.approvals",
        "TRUNCATE ledger.approvals",
        "UPDATE ledger.cancellations SET cancelled_by = 'x'",
        "DELETE FROM ledger.cancellations",
        "UPDATE ledger.commands SET needs_approval = false",
        "UPDATE ledger.commands SET target = 'other'",
        "UPDATE ledger.signing_keys SET expires_at = NULL",
        "UPDATE ledger.signing_keys SET issuer = 'grace'",
        "DELETE FROM ledger.signing_keys",
    ],
)
def test_a_process_of_stepback_cannot_write_consent_past_the_functions(
    ledger_url: str, statement: LiteralString
) -> None:
    """The role that everything runs as has no right to change a command, a key, an approval or a cancellation."""
    with psycopg.connect(ledger_url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)


def test_nobody_else_may_call_the_functions(superuser: psycopg.Connection) -> None:
    """Only the role of Stepback's processes approves, cancels and records."""
    rows = superuser.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND has_function_privilege('public',"
        " oid, 'EXECUTE')"
    ).fetchall()

    assert {name for (name,) in rows}.isdisjoint({"approve", "cancel", "record_commands", "same_party"})
