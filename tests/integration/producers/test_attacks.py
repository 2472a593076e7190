"""Attacks on the doors: each is refused by its code, audited without a word of its text, and changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine
from structlog.testing import capture_logs

from ledger import runs
from ledger.database import open_ledger, transaction
from ledger.doorbell import open_doorbell
from ledger.errors import BadKey, LimitReached, Refused, StepbackError
from ledger.keys import find_key, register_key
from ledger.model import Kind, State
from ledger.settings import TrustSettings
from producers.envelope import sign
from producers.submit import Handed, Submitted
from stepback.embedded import Postgres
from tests.databases import fresh_database
from tests.integration.producers import (
    attacks_on_consent,
    attacks_on_rights,
    attacks_on_signatures,
    attacks_on_statements,
)
from tests.integration.producers.scene import APPROVER, BILLING, CAREFUL, MARK, Attack, Scene, told

ATTACKS = (
    *attacks_on_signatures.ATTACKS,
    *attacks_on_statements.ATTACKS,
    *attacks_on_rights.ATTACKS,
    *attacks_on_consent.ATTACKS,
)


@pytest.fixture
def broker(redis_url: str, redis_namespace: str) -> Iterator[RedisBroker]:
    """Give a doorbell of one's own."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def scene(ledger_engine: Engine, broker: RedisBroker, ledger_admin_url: str) -> Scene:
    """Give a fresh installation."""
    return Scene(ledger_engine, broker, ledger_admin_url)


@pytest.fixture(scope="module")
def shared_scene(postgres: Postgres, ledger_template: str, redis_url: str) -> Iterator[Scene]:
    """Give an installation that many attacks share: none of them changes it."""
    with fresh_database(postgres, "attacked", owner="stepback_owner", template=ledger_template) as name:
        engine = open_ledger(postgres.url(name, "stepback_app"))
        broker = open_doorbell(redis_url, namespace=f"test-{name}")
        shared = Scene(engine, broker, postgres.superuser_url(name))
        yield shared
        assert shared.is_sound()
        broker.client.close()
        engine.dispose()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_refused_and_changes_nothing(
    shared_scene: Scene, attack: Attack, capfd: pytest.CaptureFixture[str]
) -> None:
    """The refusal has its code, one audit event names who it was, and the attack's text is found nowhere."""
    scene = shared_scene
    scene.an_hour_later()
    made = attack.make(scene)
    before = scene.written()
    capfd.readouterr()

    with capture_logs() as logs, pytest.raises(StepbackError) as refused:
        attack.door(scene, made if isinstance(made, Handed) else Handed(made))

    after = scene.written()
    assert isinstance(refused.value, Refused) or refused.value.code == "impact_changed"
    assert refused.value.code == attack.code
    assert (after.rows, after.bells) == (before.rows, before.bells), "nothing recorded, nothing rung"
    (event,) = after.events[len(before.events) :]
    assert (event.type, event.outcome, event.actor) == ("command_refused", "refused", attack.actor)
    assert (event.detail["code"], event.detail["via"]) == (attack.code, "gateway")
    assert MARK not in told(event) + str(refused.value) + repr((logs, capfd.readouterr()))
    assert [line["event"] for line in logs] == ["command_refused"]


def test_every_attack_has_a_name_of_its_own() -> None:
    """There are at least eighty attacks, and none is listed twice."""
    assert len(ATTACKS) >= 80
    assert [name for name, times in Counter(attack.name for attack in ATTACKS).items() if times > 1] == []


def test_attacks_in_one_batch_harm_no_proper_command(scene: Scene) -> None:
    """Handed in together, each attack is refused by itself, and the proper command among them is recorded."""
    few = (*attacks_on_signatures.ATTACKS, *attacks_on_statements.ATTACKS)
    made = [attack.make(scene) for attack in few if attack.door is Scene.submit]
    handed = [each if isinstance(each, Handed) else Handed(each) for each in made]
    codes = [attack.code for attack in few if attack.door is Scene.submit]
    middle = len(handed) // 2
    bells = scene.written().bells
    proper = Handed(scene.envelope(reason="proper"))

    outcomes = scene.door.submit_all([*handed[:middle], proper, *handed[middle:]])

    accepted = outcomes.pop(middle)
    assert isinstance(accepted, Submitted)
    assert [outcome.code for outcome in outcomes if isinstance(outcome, StepbackError)] == codes
    after = scene.written()
    assert scene.is_sound()
    assert after.bells == bells + 1
    assert Counter(event.type for event in after.events)["command_refused"] == len(codes)
    assert MARK not in json.dumps([told(event) for event in after.events])


# -- limits -----------------------------------------------------------------


def test_of_many_at_once_exactly_the_limit_comes_in(scene: Scene) -> None:
    """Eight submitters at the same moment do not get past the limit of destructive commands together."""
    envelopes = [scene.envelope(reason="proper") for _ in range(8)]

    def hand_in(envelope: str) -> str:
        try:
            return "new" if scene.door.submit(envelope).new else "known"
        except LimitReached as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(hand_in, envelopes))

    assert outcomes == {"new": 3, "limit_reached": 5}
    assert Counter(event.type for event in scene.written().events)["command_refused"] == 5


def test_a_batch_does_not_get_past_the_limit(scene: Scene) -> None:
    """Commands of one batch count for each other, and one that is sent twice counts once."""
    envelopes = [scene.envelope(reason="proper") for _ in range(5)]

    outcomes = scene.door.submit_all([Handed(envelope) for envelope in (envelopes[0], *envelopes)])

    assert [isinstance(outcome, Submitted) for outcome in outcomes] == [True, True, True, True, False, False]
    assert len({outcome.run for outcome in outcomes if isinstance(outcome, Submitted)}) == 3


def test_the_limit_is_that_of_one_target(scene: Scene) -> None:
    """What was asked for on one target does not keep anybody from another; what is not destructive is not counted."""
    subjects = [scene.queued(BILLING) for _ in range(3)]

    assert scene.queued(BILLING, target="goodbuy_test").state is State.QUEUED
    assert scene.queued(BILLING, kind=Kind.RECOVER, migration=None, subject_run=subjects[0].run).state is State.QUEUED
    with pytest.raises(LimitReached):
        scene.queued(BILLING)


# -- what is the same, and what is only text --------------------------------


def test_the_same_envelope_by_every_door_is_one_run(scene: Scene) -> None:
    """Replayed through another door, or under an idempotency key, an envelope gives the run that there is."""
    envelope = scene.envelope(reason="proper")
    first = scene.door.submit(envelope)

    again = [
        replace(scene.door, via="stream").submit(envelope),
        scene.door.submit(envelope, idempotency_key="another"),
        *scene.door.submit_all([Handed(envelope), Handed(envelope)]),
    ]

    assert again == [Submitted(first.command_id, first.run, new=False)] * 4


def test_an_idempotency_key_is_its_requesters_own(scene: Scene) -> None:
    """Somebody else's key under the same text is another key."""
    one = scene.door.submit(scene.envelope(BILLING, reason="proper"), idempotency_key="the same")
    other = scene.door.submit(scene.envelope(CAREFUL, reason="proper"), idempotency_key="the same")

    assert (one.new, other.new) == (True, True)
    assert one.run != other.run


SQL = "'); DROP TABLE ledger.commands; --"


def test_sql_where_text_is_allowed_stays_text(scene: Scene) -> None:
    """SQL in a reason, an idempotency key, conditions or a report is kept as it was signed, and does nothing here."""
    subject = scene.queued(BILLING)

    submitted = scene.door.submit(
        scene.envelope(
            kind=Kind.RECOVER,
            migration=None,
            subject_run=subject.run,
            reason=f"{SQL} %s :x ${{}} \\",
            conditions={f"t{SQL}": f"true {SQL} %(x)s :y"},
            report=f"SELECT 1 {SQL}\nSELECT 2",
        ),
        idempotency_key=SQL,
    )

    run = scene.find(submitted.run)
    assert (run.state, run.reason) == (State.QUEUED, f"{SQL} %s :x ${{}} \\")
    assert scene.door.submit(scene.envelope(reason="proper"), idempotency_key=f"{SQL}2").new


# -- keys -------------------------------------------------------------------

#: Every encoding of a point of small order, canonical or not, with either sign (the table of libsodium and RFC 7748).
_SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)


def test_a_key_that_anybody_could_sign_with_is_not_registered(scene: Scene) -> None:
    """A public key of small order, in any spelling, or of another length, is refused before it is kept."""
    for point in (*_SMALL_ORDER, "", "00" * 31, "00" * 33):
        with transaction(scene.engine) as conn, pytest.raises(BadKey):
            register_key(conn, "weak", BILLING, bytes.fromhex(point))

    with transaction(scene.engine) as conn:
        assert find_key(conn, "weak") is None


# -- trust in the command line ----------------------------------------------


@pytest.mark.parametrize("issuer", ["local:grace", "local:grace/x"])
def test_without_trust_the_command_line_has_no_rights(scene: Scene, issuer: str) -> None:
    """Where the local operator is not trusted, a local name is a name like any other."""
    distrusting = replace(
        scene, settings=scene.settings.model_copy(update={"trust": TrustSettings(local_operator="none")})
    )

    with pytest.raises(Refused) as refused:
        distrusting.door.submit(scene.envelope(issuer))

    assert refused.value.code == "not_allowed"


def test_an_approval_counts_once(scene: Scene) -> None:
    """Handed in again, an approval is known: nothing is written down, and what has gone on is not rung for."""
    run = scene.waiting()
    envelope = sign(scene.approval(run, reason="proper"), scene.key(APPROVER))
    assert scene.approve(Handed(envelope)).state is State.QUEUED
    assert runs.claim(scene.engine, run.command_id, worker="w1", lease_seconds=60) is not None
    written = scene.written()

    again = scene.approve(Handed(envelope))

    assert (again.run, again.state) == (run.run, State.IN_PROGRESS)
    assert scene.written() == written
