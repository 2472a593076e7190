"""Consent: a run waits until somebody else lets it, goes on for what was approved, and stops when it is not wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.keys import register_key, revoke_key
from ledger.model import Kind, Run, State
from ledger.settings import ProducerSettings
from tests import signing
from tests.harness import Engine, completed, ended
from tests.integration.worker.consents import BOLD, CAREFUL, PRODUCERS, Hands, once_at
from worker.reconcile import Reconciler


@pytest.fixture
def hands(engine: Engine, ledger_admin_url: str) -> Hands:
    """Give a target with a plan, and everybody who has a say in it."""
    return Hands(engine, ledger_admin_url)


def assert_ended(hands: Hands, run: Run, state: State, code: str) -> None:
    """See how a run ended, and that it changed nothing."""
    assert run.state is state, ended(run)
    assert run.error is not None
    assert run.error.code == code, ended(run)
    assert hands.is_untouched()
    assert hands.told(run)[-1] == f"run_{state}"


# -- waiting ----------------------------------------------------------------


def test_a_run_waits_is_approved_and_completes(hands: Hands) -> None:
    """Preflight tells what it would do; nothing is changed until somebody else lets it, then everything is."""
    waiting = hands.carry_out()
    assert (waiting.state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True)
    assert waiting.impact_sha256 is not None
    assert not hands.deliver(hands.engine.command(command_id=waiting.command_id)), "it is nobody's to claim"

    hands.approve(waiting)
    run = completed(hands.again(waiting))

    assert run.impact_sha256 == waiting.impact_sha256
    assert [kept.name for kept in hands.engine.kept(run)][:1] == ["public.items"]
    told = hands.told(run)
    assert told.index("approval_awaited") < told.index("run_approved") < told.index("run_completed")


def test_whose_commands_need_no_approval_waits_for_nobody(hands: Hands) -> None:
    """Rights say who waits."""
    completed(hands.carry_out(BOLD))


def test_a_right_that_is_narrowed_meanwhile_counts(hands: Hands) -> None:
    """Who needs an approval by now has to have one, whatever was written down when the command came in."""
    command, run = hands.queue(BOLD)
    hands.producers = {**PRODUCERS, BOLD: PRODUCERS[CAREFUL]}

    hands.deliver(command)

    assert hands.find(run).state is State.AWAITING_APPROVAL


def test_looking_needs_no_approval(hands: Hands) -> None:
    """A validation changes nothing: it never waits."""
    assert hands.carry_out(kind=Kind.VALIDATE, migration=None, needs_approval=False).state is State.COMPLETED


def test_another_impact_is_waited_for_anew(hands: Hands) -> None:
    """If what it would do changes before it goes on, the approval is void: it waits again, and the log tells why."""
    waiting = hands.carry_out()
    hands.approve(waiting)
    hands.engine.owner("CREATE INDEX by_price ON items (price); CREATE VIEW dear AS SELECT 1;")
    hands.engine.owner("CREATE TRIGGER t AFTER DELETE ON items EXECUTE FUNCTION suppress_redundant_updates_trigger()")

    again = hands.again(waiting)

    assert (again.state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True), ended(again)
    assert again.impact_sha256 != waiting.impact_sha256
    why = [event.detail["message"] for event in hands.engine.events(again) if event.type == "approval_awaited"]
    assert ["nobody has approved" in str(why[0]), "not what the run would do now" in str(why[1])] == [True, True]
    hands.approve(again)
    completed(hands.again(again))


def test_an_approval_that_expires_before_apply_does_not_count(hands: Hands) -> None:
    """Good at preflight, over before apply: the run ends, since nobody is waited for then, and nothing was changed."""
    waiting = hands.carry_out()
    until = datetime.now(UTC) + timedelta(seconds=2)
    hands.approve(waiting, not_after=until)
    hands.engine.at = once_at("registry_in_progress", lambda: hands.sql("SELECT pg_sleep_until(%s)", until))

    run = hands.again(waiting)

    # The registry had said in_progress by then: that is a failure in its words, not a refusal.
    assert_ended(hands, run, State.FAILED, "expired")
    assert run.error is not None
    assert "the approval does not count any more" in run.error.message
    assert hands.engine.registry() == ["failed"]


def test_an_approval_that_expires_before_it_is_used_is_waited_for_anew(hands: Hands) -> None:
    """Over before a worker takes the run up again, it counts for nothing, and there is time for another."""
    waiting = hands.carry_out()
    until = datetime.now(UTC) + timedelta(seconds=1)
    hands.approve(waiting, not_after=until)
    hands.sql("SELECT pg_sleep_until(%s)", until)

    again = hands.again(waiting)

    assert (again.state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True), ended(again)
    hands.approve(again)
    completed(hands.again(again))


def test_a_run_that_waits_for_too_long_is_refused(hands: Hands, redis_url: str, redis_namespace: str) -> None:
    """When its time is over the reconciler wakes it, and the worker refuses it."""
    waiting = hands.carry_out(not_after=datetime.now(UTC) + timedelta(seconds=2))
    assert waiting.state is State.AWAITING_APPROVAL
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    reconciler = Reconciler(hands.engine.ledger, broker, 1)
    assert reconciler.round() == 0
    hands.sql("SELECT pg_sleep_until(%s)", datetime.now(UTC) + timedelta(seconds=2))

    assert reconciler.round() == 1

    broker.client.close()
    assert_ended(hands, hands.again(waiting), State.REFUSED, "expired")


# -- cancelling -------------------------------------------------------------


def test_cancelled_while_queued(hands: Hands) -> None:
    """No worker takes it up any more."""
    command, run = hands.queue()
    hands.cancel(run)

    assert not hands.deliver(command)

    assert_ended(hands, hands.find(run), State.CANCELLED, "cancelled")
    assert hands.engine.registry() == []


def test_cancelled_while_it_waits(hands: Hands) -> None:
    """Neither an approval nor a worker gets it going again; the requester may do it without any right."""
    waiting = hands.carry_out()
    hands.cancel(waiting, CAREFUL)

    assert not hands.deliver(hands.engine.command(command_id=waiting.command_id))

    assert_ended(hands, hands.find(waiting), State.CANCELLED, "cancelled")


@pytest.mark.parametrize(
    ("point", "registry"),
    [
        ("claimed", []),
        ("marker_looked_up", []),
        ("preflight_entered", []),
        ("preflight_journaled", []),
        ("registry_in_progress", ["failed"]),
        ("apply_entered", ["failed"]),
    ],
)
def test_cancelled_while_in_progress(hands: Hands, point: str, registry: list[str]) -> None:
    """Up to apply the worker stops by itself; the registry says nothing of it, or that it did not come about."""
    command, run = hands.queue(BOLD)
    hands.engine.at = once_at(point, lambda: hands.cancel(run))

    hands.deliver(command)

    assert_ended(hands, hands.find(run), State.CANCELLED, "cancelled")
    assert hands.engine.registry() == registry
    assert "cancellation_requested" in hands.told(hands.find(run))


def test_cancelled_during_an_online_copy(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long work looks up now and then; what it has copied is taken away again."""
    monkeypatch.setattr("worker.executor._LOOK_SECONDS", 0.0)
    hands.engine.plan("ALTER TABLE items DROP COLUMN price;", online_rows=0)
    command, run = hands.queue(BOLD)
    hands.engine.at = once_at("copy_made", lambda: hands.cancel(run))

    hands.deliver(command)

    assert_ended(hands, hands.find(run), State.CANCELLED, "cancelled")
    assert hands.engine.query("SELECT FROM emergency_backup.online_copies") == []
    assert hands.engine.query("SELECT FROM pg_trigger WHERE tgname LIKE 'stepback%'") == []


@pytest.mark.parametrize("point", ["apply_begun", "locked", "proved", "marked", "committed", "finish_entered"])
def test_cancelled_too_late_it_completes(hands: Hands, point: str) -> None:
    """Once apply has begun it talks to the target only: what commits is told as it is, and recover brings it back."""
    command, run = hands.queue(BOLD)
    hands.engine.at = once_at(point, lambda: hands.cancel(run))

    hands.deliver(command)

    completed(hands.find(run))
    assert "cancellation_requested" in hands.told(hands.find(run))


def test_a_cancellation_counts_while_its_signers_right_does(hands: Hands) -> None:
    """Where the worker is configured to hear somebody no more, what they wanted stopped goes on."""
    command, run = hands.queue(BOLD)
    hands.engine.at = once_at("preflight_journaled", lambda: hands.cancel(run))
    hands.producers = {**PRODUCERS, "service:auditor": ProducerSettings()}

    hands.deliver(command)

    completed(hands.find(run))


# -- rights and keys that change meanwhile ----------------------------------


def test_rights_withdrawn_while_queued(hands: Hands) -> None:
    """The worker goes by its own configuration, at the moment it begins."""
    command, run = hands.queue(BOLD)
    hands.producers = {**PRODUCERS, BOLD: ProducerSettings(kinds=frozenset({"recover"}), targets=("*",))}

    hands.deliver(command)

    assert_ended(hands, hands.find(run), State.REFUSED, "not_allowed")


def test_key_revoked_while_queued(hands: Hands) -> None:
    """A key is revoked because it is distrusted: what it signed before is not begun."""
    command, run = hands.queue(BOLD)
    key = hands.key(BOLD)
    with transaction(hands.engine.ledger) as conn:
        revoke_key(conn, key.key_id, actor="local:ada")

    hands.deliver(command)

    assert_ended(hands, hands.find(run), State.REFUSED, "bad_signature")


def test_key_expired_since_it_was_submitted(hands: Hands) -> None:
    """A key that expires as foreseen takes nothing back that was signed in its time."""
    with transaction(hands.engine.ledger) as conn:
        key = signing.key_of(BOLD)
        register_key(conn, key.key_id, BOLD, key.public_key, expires_at=datetime.now(UTC) + timedelta(hours=1))
    command, run = hands.queue(BOLD)
    hands.sql("UPDATE ledger.signing_keys SET expires_at = clock_timestamp() WHERE key_id = %s", key.key_id)

    hands.deliver(command)

    completed(hands.find(run))


@pytest.mark.parametrize("how", ["revoked", "without the right"])
def test_an_approver_who_is_one_no_more(hands: Hands, how: str) -> None:
    """An approval counts only as long as its signer would be believed; the run waits for another."""
    waiting = hands.carry_out()
    hands.approve(waiting)
    if how == "revoked":
        with transaction(hands.engine.ledger) as conn:
            revoke_key(conn, hands.key("service:auditor").key_id, actor="local:ada")
    else:
        hands.producers = {**PRODUCERS, "service:auditor": ProducerSettings(approves=("sho",))}

    assert (hands.again(waiting).state, hands.is_untouched()) == (State.AWAITING_APPROVAL, True)
