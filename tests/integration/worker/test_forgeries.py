"""Forgeries past the door: who can write into the ledger, and cannot sign, moves nothing in a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from joserfc.jwk import OKPKey

from ledger.model import Command, Kind, Policy, Run, State
from ledger.settings import ProducerSettings
from producers.envelope import sign
from producers.keys import PrivateKey
from tests import signing
from tests.harness import Engine, completed, ended
from tests.integration.worker.consents import APPROVER, BOLD, CAREFUL, PRODUCERS, TWIN, Hands, once_at


@pytest.fixture
def hands(engine: Engine, ledger_admin_url: str) -> Hands:
    """Give a target with a plan, and everybody who has a say in it."""
    return Hands(engine, ledger_admin_url)


# -- commands ---------------------------------------------------------------


@dataclass(frozen=True)
class Altered:
    """A change to the row of a queued command, and the refusal that it has to end in."""

    name: str
    assignment: str
    code: str = "bad_signature"


_ALTERED = (
    Altered("another target", f"target = '{TWIN}'"),
    Altered("a target that is not configured", "target = 'elsewhere'", "unknown_target"),
    Altered("another kind", "kind = 'validate'"),
    Altered("a recovery", "kind = 'recover', subject_run = 1"),
    Altered("a purge", "kind = 'purge', subject_run = 1"),
    Altered("another migration", "migration = 'other'"),
    Altered("another requester", f"requested_by = '{APPROVER}'"),
    Altered("a requester behind the name", "requested_by = requested_by || '/x'"),
    Altered("another reason", "reason = 'harmless'"),
    Altered("more time", "not_after = not_after + interval '1 day'"),
    Altered("less time", "not_after = not_after - interval '1 minute'"),
    Altered("an impact accepted", "accept_sha256 = repeat('a', 64)"),
    Altered("no envelope", "envelope = ''"),
    Altered("rubbish for an envelope", "envelope = 'a.b.c'"),
    Altered("the envelope with one character more", "envelope = envelope || 'A'"),
    Altered("another plan", "plan_sha256 = repeat('0', 64)", "plan_changed"),
)


def test_a_command_altered_in_the_ledger_is_not_carried_out(hands: Hands, subtests: pytest.Subtests) -> None:
    """What the worker carries out is what was signed: any field that differs ends the run, nothing changed."""
    hands.engine.plan("DROP TABLE items;", migration="other")
    for altered in _ALTERED:
        with subtests.test(altered.name):
            command, run = hands.queue(BOLD)
            hands.sql(f"UPDATE ledger.commands SET {altered.assignment} WHERE command_id = %s", command.command_id)

            hands.deliver(command)

            assert_refused(hands, hands.find(run), altered.code)


_RECOVERIES = (
    "policy = 'overwrite'",
    "policy = NULL",
    'conditions = \'{"items": "true"}\'',
    "conditions = NULL",
    "report = 'SELECT 2'",
    "report = NULL",
    "migration = 'other'",
    f"target = '{TWIN}'",
)


def test_a_recovery_altered_in_the_ledger_is_not_carried_out(hands: Hands, subtests: pytest.Subtests) -> None:
    """What a recovery overwrites, brings back and reports is what was signed."""
    rollback = completed(hands.carry_out(BOLD))
    asked = {"policy": Policy.ASIDE, "conditions": {"items": "id = 1"}, "report": "SELECT 1"}
    for assignment in _RECOVERIES:
        with subtests.test(assignment):
            command, run = hands.queue(BOLD, kind=Kind.RECOVER, subject_run=rollback.run, **asked)
            hands.sql(f"UPDATE ledger.commands SET {assignment} WHERE command_id = %s", command.command_id)

            hands.deliver(command)

            found = hands.find(run)
            assert found.error is not None
            assert (found.state, found.error.code) == (State.REFUSED, "bad_signature"), ended(found)
            assert hands.engine.query("SELECT to_regclass('items') IS NULL AS gone") == [{"gone": True}]


def assert_refused(hands: Hands, run: Run, code: str) -> None:
    """See that a run was refused, and nothing changed."""
    assert run.state is State.REFUSED, ended(run)
    assert run.error is not None
    assert run.error.code == code, ended(run)
    assert hands.is_untouched()
    assert hands.told(run)[-1] == "run_refused"


def _copied(hands: Hands) -> tuple[Command, str]:
    """Put the envelope of a command that somebody did sign under a new id."""
    signed = hands.engine.command(requested_by=BOLD)
    return hands.engine.command(requested_by=BOLD), signing.envelope_of(hands.engine.ledger, signed)


def _by_another_key(hands: Hands) -> tuple[Command, str]:
    """Sign somebody else's wish with a key of one's own."""
    command = hands.engine.command(requested_by=APPROVER)
    envelope = signing.envelope_of(hands.engine.ledger, command)
    return hands.engine.command(requested_by=BOLD, command_id=command.command_id), envelope


@pytest.mark.parametrize(
    ("forged", "code"),
    [(_copied, "bad_signature"), (_by_another_key, "bad_signature")],
    ids=["the envelope of another command", "the envelope of another requester"],
)
def test_a_command_that_is_inserted_is_not_carried_out(
    hands: Hands, forged: Callable[[Hands], tuple[Command, str]], code: str
) -> None:
    """A row with an envelope that somebody signed for something else is refused."""
    command, envelope = forged(hands)
    recorded = signing.record(hands.engine.ledger, command, envelope=envelope)

    hands.deliver(command)

    assert_refused(hands, hands.find(recorded.run), code)


def test_a_command_for_another_installation_is_not_carried_out(hands: Hands) -> None:
    """A copy of another installation's ledger does nothing here, though its keys may be known."""
    command, run = hands.queue(BOLD)
    hands.engine.__dict__["installation"] = uuid4()

    hands.deliver(command)

    found = hands.find(run)
    assert (found.state, hands.is_untouched()) == (State.REFUSED, True), ended(found)


# -- approvals --------------------------------------------------------------


def _stranger_key(issuer: str) -> PrivateKey:
    return PrivateKey.of(OKPKey.generate_key("Ed25519"), issuer)


def _of_other_run(hands: Hands, _: Run) -> str:
    """Copy the approval of another run of the very same plan and impact."""
    other = hands.carry_out()
    return sign(hands.approval(other), hands.key(APPROVER))


def _own_command(hands: Hands, run: Run) -> str:
    """Copy the command's own envelope."""
    return signing.envelope_of(hands.engine.ledger, hands.engine.command(command_id=run.command_id))


def _expired(hands: Hands, run: Run) -> str:
    then = datetime.now(UTC) - timedelta(minutes=2)
    approval = hands.approval(run, issued_at=then, not_after=then + timedelta(minutes=1))
    return sign(approval, hands.key(APPROVER))


_APPROVALS: dict[str, Callable[[Hands, Run], str]] = {
    "no envelope": lambda _, __: "",
    "rubbish": lambda _, __: "a.b.c",
    "a key that is not registered": lambda h, r: sign(h.approval(r), _stranger_key(APPROVER)),
    "the approver's name by the requester's key": lambda h, r: sign(h.approval(r), h.key(CAREFUL)),
    "the requester": lambda h, r: sign(h.approval(r, CAREFUL), h.key(CAREFUL)),
    "a name behind the requester's": lambda h, r: sign(h.approval(r, f"{CAREFUL}/x"), h.key(CAREFUL)),
    "one without the right": lambda h, r: sign(h.approval(r, BOLD), h.key(BOLD)),
    "another run": _of_other_run,
    "another command": lambda h, r: sign(h.approval(r, command_id=uuid4()), h.key(APPROVER)),
    "another number": lambda h, r: sign(h.approval(r, run=r.run + 1), h.key(APPROVER)),
    "another impact": lambda h, r: sign(h.approval(r, impact_sha256="2b" * 32), h.key(APPROVER)),
    "another plan": lambda h, r: sign(h.approval(r, plan_sha256="2b" * 32), h.key(APPROVER)),
    "another target": lambda h, r: sign(h.approval(r, target=TWIN), h.key(APPROVER)),
    "another installation": lambda h, r: sign(h.approval(r, audience=str(uuid4())), h.key(APPROVER)),
    "its time over": _expired,
    "a cancellation": lambda h, r: sign(h.cancellation(r), h.key(APPROVER)),
    "the command itself": _own_command,
}


def forge_approval(hands: Hands, run: Run, envelope: str) -> None:
    """Write an approval into the ledger that says in every column what it should, and queue the run."""
    hands.sql(
        "INSERT INTO ledger.approvals (run, approved_by, plan_sha256, impact_sha256, not_after, envelope)"
        " SELECT run, %s, plan_sha256, impact_sha256, now() + interval '1 hour', %s FROM ledger.runs WHERE run = %s",
        APPROVER,
        envelope,
        run.run,
    )
    hands.sql("UPDATE ledger.runs SET state = 'queued' WHERE run = %s", run.run)


def test_a_forged_approval_counts_for_nothing(hands: Hands, subtests: pytest.Subtests) -> None:
    """Whatever the columns say, the run waits again; and a proper approval after all of them still counts."""
    # They may approve what others ask for: that they may not approve this is not for want of a right.
    may = ProducerSettings(approves=("*",))
    careful = PRODUCERS[CAREFUL].model_copy(update={"approves": ("*",)})
    hands.producers = {**PRODUCERS, CAREFUL: careful, f"{CAREFUL}/x": may}
    waiting = hands.carry_out()
    for name, envelope in _APPROVALS.items():
        with subtests.test(name):
            forge_approval(hands, waiting, envelope(hands, waiting))

            again = hands.again(waiting)

            assert (again.state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True), ended(again)
            assert hands.told(again)[-1] == "approval_awaited"

    hands.approve(waiting)
    completed(hands.again(waiting))


_PUSHES = (
    ("UPDATE ledger.runs SET state = 'queued'",),
    ("UPDATE ledger.commands SET needs_approval = false", "UPDATE ledger.runs SET state = 'queued'"),
    ("UPDATE ledger.runs SET state = 'queued', phase = 'apply', attempt = 7, impact_sha256 = repeat('0', 64)",),
    (
        "UPDATE ledger.runs SET state = 'queued'",
        "UPDATE ledger.runs SET state = 'in_progress', worker = 'w0', lease_until = now() - interval '1 minute'",
    ),
)


def test_a_run_that_is_pushed_on_waits_again(hands: Hands, subtests: pytest.Subtests) -> None:
    """Neither another state nor a word that no approval is needed takes the place of one."""
    waiting = hands.carry_out()
    for statements in _PUSHES:
        with subtests.test(statements[-1]):
            for statement in statements:
                hands.sql(statement)

            again = hands.again(waiting)

            assert (again.state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True), ended(again)


def test_an_approval_of_what_is_then_altered_is_not_one_of_that(hands: Hands) -> None:
    """Approved, and its command altered before a worker takes it up: refused."""
    waiting = hands.carry_out()
    hands.approve(waiting)
    hands.sql("UPDATE ledger.commands SET reason = 'harmless'")

    assert_refused(hands, hands.again(waiting), "bad_signature")


# -- cancellations ----------------------------------------------------------

_CANCELLATIONS: dict[str, Callable[[Hands, Run], str]] = {
    "no envelope": lambda _, __: "",
    "rubbish": lambda _, __: "a.b.c",
    "a key that is not registered": lambda h, r: sign(h.cancellation(r), _stranger_key(APPROVER)),
    "the canceller's name by another key": lambda h, r: sign(h.cancellation(r), h.key(CAREFUL)),
    "one without the right": lambda h, r: sign(h.cancellation(r, CAREFUL), h.key(CAREFUL)),
    "another run": lambda h, r: sign(h.cancellation(r, run=r.run + 1), h.key(APPROVER)),
    "another target": lambda h, r: sign(h.cancellation(r, target=TWIN), h.key(APPROVER)),
    "another command": lambda h, r: sign(h.cancellation(r, command_id=uuid4()), h.key(APPROVER)),
    "an approval": lambda h, r: sign(h.approval(r), h.key(APPROVER)),
}


def forge_cancellation(hands: Hands, run: int, envelope: str) -> None:
    """Write a cancellation into the ledger that says in every column what it should."""
    statement = "INSERT INTO ledger.cancellations (run, cancelled_by, envelope) VALUES (%s, %s, %s)"
    hands.sql(statement, run, APPROVER, envelope)


def test_a_forged_cancellation_counts_for_nothing(hands: Hands) -> None:
    """Nobody stops a run without a signature, and a run is not stopped by what was signed about another."""
    command, run = hands.queue(BOLD)
    for envelope in _CANCELLATIONS.values():
        forge_cancellation(hands, run, envelope(hands, hands.find(run)))

    hands.deliver(command)

    completed(hands.find(run))


def test_a_forged_cancellation_stands_in_no_proper_ones_way(hands: Hands) -> None:
    """Written first, it would else keep everybody from stopping the run."""
    command, run = hands.queue(BOLD)
    for envelope in _CANCELLATIONS.values():
        forge_cancellation(hands, run, envelope(hands, hands.find(run)))
    hands.engine.at = once_at("preflight_journaled", lambda: hands.cancel(run))

    hands.deliver(command)

    found = hands.find(run)
    assert (found.state, hands.is_untouched()) == (State.CANCELLED, True), ended(found)
