"""The Redis stream on real servers: every entry has one outcome, told to its sender, and one effect at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from dramatiq.brokers.redis import RedisBroker
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine
from structlog.testing import capture_logs

from ledger import audit, runs
from ledger.database import transaction
from ledger.doorbell import QUEUE, open_doorbell
from ledger.errors import BadConfiguration, LedgerUnreachable, QueueUnreachable, TargetUnreachable, UnknownMigration
from ledger.model import Kind
from ledger.settings import ProducerSettings, Settings, StreamSettings, TargetSettings
from producers.stream import Consumer
from producers.stream_group import BATCH, Group
from producers.submit import OneWayIn
from tests.streaming import ISSUER, Sender, a_sender, cloud_event

PLAN = "5e" * 32
CANARY = "canary-7f3d9a"
NEVER_REACHED = TargetSettings(url=SecretStr("postgresql://never-reached/"))


def pin(target: str, migration: str) -> str:
    """Find one plan."""
    if (target, migration) != ("goodbuy_hq", "add_health_metrics_table"):
        raise UnknownMigration("no such plan")
    return PLAN


@dataclass
class House:
    """One ledger and one stream, with a sender at its end and consumers at the other."""

    engine: Engine
    broker: RedisBroker
    settings: Settings
    sender: Sender
    #: Finds plans; changed by tests of what happens where that fails.
    find: Callable[[str, str], str]

    def consumer(self, who: str = "one", /, **changes: object) -> Consumer:
        """Return a consumer, with some settings of its stream changed."""
        stream = self.settings.stream.model_copy(update=changes)
        way_in = OneWayIn(
            engine=self.engine,
            broker=self.broker,
            settings=self.settings,
            pin=self._pin,
            via="stream",
        )
        group = Group(self.broker, stream, who)
        group.make()
        return Consumer(group, way_in, self.engine, claim_seconds=stream.claim_seconds)

    def _pin(self, target: str, migration: str) -> str:
        return self.find(target, migration)

    def runs(self) -> list[int]:
        """Return the numbers of all runs, oldest first."""
        with transaction(self.engine) as conn:
            return sorted(run.run for run in runs.list_runs(conn, limit=1000))

    def refusals(self) -> list[object]:
        """Return the codes of the refusals in the audit log."""
        with transaction(self.engine) as conn:
            assert audit.verify(conn).ok
            return [event.detail["code"] for event in audit.read(conn) if event.type == "command_refused"]


@pytest.fixture(params=["", "protocol=2", "protocol=3"])
def broker(request: pytest.FixtureRequest, redis_url: str, redis_namespace: str) -> Iterator[RedisBroker]:
    """Give a doorbell of one's own, for each protocol that a URL may ask for."""
    broker = open_doorbell("&".join(filter(None, [redis_url, request.param])), namespace=redis_namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def house(ledger_engine: Engine, broker: RedisBroker, redis_namespace: str) -> House:
    """Give a fresh house, whose sender may roll back and validate one target."""
    stream = StreamSettings(
        name=f"{redis_namespace}.commands",
        dead_letters=f"{redis_namespace}.dead",
        answers=f"{redis_namespace}.answers",
    )
    rights = ProducerSettings(kinds=frozenset({"rollback", "validate"}), targets=("goodbuy_hq",))
    settings = Settings(
        targets={"goodbuy_hq": NEVER_REACHED, "other": NEVER_REACHED}, stream=stream, producers={ISSUER: rights}
    )
    return House(ledger_engine, broker, settings, a_sender(ledger_engine, broker.client, stream), pin)


only_default = pytest.mark.parametrize("broker", [""], indirect=True)


# -- accepted ---------------------------------------------------------------


def test_a_command_is_accepted(house: House) -> None:
    """A command on the stream becomes a run; the answer names both, and the entry is gone."""
    consumer, command_id = house.consumer(), uuid4()
    entry = house.sender.add(envelope=house.sender.envelope(command_id=command_id))

    consumer.round()

    (run,) = house.runs()
    assert house.broker.client.llen(f"{house.broker.namespace}:{QUEUE}") == 1
    assert house.sender.answers() == [{"entry": entry, "command_id": str(command_id), "run": str(run), "code": ""}]
    assert (house.sender.left(), house.sender.pending(), house.sender.dead_letters()) == (0, [], [])


@only_default
def test_a_command_in_a_cloud_event_is_accepted(house: House) -> None:
    """A CloudEvent with the command in it does as well."""
    consumer = house.consumer()
    house.sender.add(event=cloud_event(house.sender.envelope()))

    consumer.round()

    assert len(house.runs()) == 1
    assert house.sender.left() == 0


@only_default
def test_a_rollback_is_pinned(house: House) -> None:
    """A rollback that comes by the stream is bound to the plan as it is at that moment."""
    consumer = house.consumer()
    house.sender.add(envelope=house.sender.envelope(kind=Kind.ROLLBACK, migration="add_health_metrics_table"))

    consumer.round()

    (run,) = house.runs()
    with transaction(house.engine) as conn:
        assert runs.find(conn, run).plan_sha256 == PLAN


@only_default
def test_what_was_added_before_the_first_consumer_is_read(house: House) -> None:
    """A service may ask before any consumer has ever run."""
    house.sender.add(envelope=house.sender.envelope())

    house.consumer().round()

    assert len(house.runs()) == 1


@only_default
def test_the_same_envelope_makes_one_run(house: House) -> None:
    """However often an envelope is added, in one batch or later, there is one run, and every answer names it."""
    consumer, envelope = house.consumer(), house.sender.envelope()
    house.sender.add(envelope=envelope)
    house.sender.add(envelope=envelope)
    consumer.round()
    house.sender.add(envelope=envelope)

    consumer.round()

    (run,) = house.runs()
    assert [answer["run"] for answer in house.sender.answers()] == [str(run)] * 3


@only_default
def test_the_same_idempotency_key_makes_one_run(house: House) -> None:
    """Signed anew under the sender's own key, what asks the same is the same command."""
    consumer = house.consumer()
    for _ in range(2):
        house.sender.add(envelope=house.sender.envelope(), idempotency_key="order-7")
        consumer.round()

    (run,) = house.runs()
    assert [answer["run"] for answer in house.sender.answers()] == [str(run)] * 2


@only_default
def test_many_are_taken_in_order(house: House) -> None:
    """More entries than one batch holds are all taken, the first one first."""
    consumer = house.consumer()
    entries = [house.sender.add(envelope=house.sender.envelope()) for _ in range(BATCH + 6)]

    consumer.round()
    consumer.round()

    answers = house.sender.answers()
    assert [answer["entry"] for answer in answers] == entries
    assert [int(answer["run"]) for answer in answers] == house.runs()


# -- refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"target": "other"}, "not_allowed"),
        ({"target": "no_such_target"}, "not_allowed"),
        ({"kind": Kind.ROLLBACK, "migration": "no_such_migration"}, "unknown_migration"),
        ({"audience": str(uuid4())}, "bad_signature"),
        ({"issuer": "service:other"}, "bad_signature"),
        (
            {
                "not_after": datetime.now(UTC) - timedelta(minutes=1),
                "issued_at": datetime.now(UTC) - timedelta(hours=1),
            },
            "expired",
        ),
    ],
)
@only_default
def test_a_refusal_is_told_without_the_text(house: House, changes: dict[str, object], code: str) -> None:
    """What may not be done is a dead letter with code and message, is answered, is audited, and is kept nowhere."""
    consumer = house.consumer()
    envelope = house.sender.envelope(**{"reason": CANARY, **changes})
    entry = house.sender.add(envelope=envelope)

    consumer.round()

    (letter,) = house.sender.dead_letters()
    assert set(letter) == {"entry", "code", "message"}
    assert (letter["entry"], letter["code"]) == (entry, code)
    assert house.sender.answers() == [{"entry": entry, "command_id": "", "run": "", "code": code}]
    assert house.refusals() == [code]
    assert envelope.encode() not in house.sender.everything()
    assert (house.runs(), house.sender.left(), house.sender.pending()) == ([], 0, [])


POISON: dict[str, dict[str, bytes]] = {
    "no field": {"payload": CANARY.encode()},
    "100 KiB": {"envelope": CANARY.encode() * 8000},
    "100 KiB event": {"event": CANARY.encode() * 8000},
    "binary": {"envelope": CANARY.encode() + bytes(range(256))},
    "NUL": {"envelope": CANARY.encode() + b"\x00"},
    "NUL in an event": {"event": cloud_event(CANARY + "\x00").encode()},
    "object attribute": {"event": cloud_event("e30.e30.e30", source={CANARY: CANARY}).encode()},
    "duplicate key": {"event": b'{"specversion":"1.0","specversion":"' + CANARY.encode() + b'"}'},
    "lone surrogate": {"event": cloud_event("\ud800").encode()},
    "idempotency key": {"envelope": b"e30.e30.e30", "idempotency_key": CANARY.encode() + b"\x00\xff"},
    "empty": {"envelope": b""},
}


@only_default
def test_poison_is_a_dead_letter_and_harms_no_other(house: House) -> None:
    """Whatever an entry holds, it is refused without a word of it, and the commands around it come in."""
    consumer = house.consumer()
    for fields in POISON.values():
        house.sender.add(envelope=house.sender.envelope())
        house.sender.add(**fields)

    with capture_logs() as lines:
        consumer.round()

    letters = house.sender.dead_letters()
    assert [letter["code"] for letter in letters if letter["code"] not in {"bad_request", "bad_signature"}] == []
    assert (len(letters), len(house.runs()), len(house.refusals())) == (len(POISON), len(POISON), len(POISON))
    assert (house.sender.left(), house.sender.pending()) == (0, [])
    assert CANARY.encode() not in house.sender.everything()
    assert CANARY not in repr(lines)


@only_default
def test_dead_letters_and_answers_are_bounded(house: House) -> None:
    """No more dead letters and answers are kept than max_length, about: Redis trims by whole nodes of a hundred."""
    consumer = house.consumer(max_length=100)
    for _ in range(6 * BATCH):
        house.sender.add(payload="x")

    for _ in range(6):
        consumer.round()

    assert 100 <= len(house.sender.dead_letters()) < 300
    assert 100 <= len(house.sender.answers()) < 300


# -- abandoned, gone, put off -----------------------------------------------


def test_an_abandoned_entry_is_taken_over(house: House) -> None:
    """What a consumer has read and never settled is carried by another once its time is over."""
    house.consumer("dead")
    house.sender.add(envelope=house.sender.envelope())
    Group(house.broker, house.settings.stream, "dead").new(wait_ms=1000)

    house.consumer("other", claim_seconds=0).round()

    assert len(house.runs()) == len(house.sender.answers()) == 1
    assert (house.sender.left(), house.sender.pending()) == (0, [])


@only_default
def test_an_entry_in_good_hands_is_left_alone(house: House) -> None:
    """What another consumer has just read is not taken over."""
    house.consumer("busy")
    house.sender.add(envelope=house.sender.envelope())
    Group(house.broker, house.settings.stream, "busy").new(wait_ms=1000)

    house.consumer("other").round()

    assert (house.runs(), len(house.sender.pending())) == ([], 1)


@pytest.mark.parametrize("how", ["deleted", "trimmed"])
def test_an_entry_that_is_gone_is_told(house: House, how: str) -> None:
    """An entry deleted or trimmed between reading and settling is a dead letter, not something that never ends."""
    house.consumer("dead")
    entry = house.sender.add(envelope=house.sender.envelope())
    Group(house.broker, house.settings.stream, "dead").new(wait_ms=1000)
    if how == "deleted":
        house.sender.redis.xdel(house.sender.stream.name, entry)
    else:
        house.sender.redis.xtrim(house.sender.stream.name, maxlen=0, approximate=False)

    house.consumer("other", claim_seconds=0).round()

    (letter,) = house.sender.dead_letters()
    assert (letter["entry"], letter["code"]) == (entry, "entry_gone")
    assert (house.refusals(), house.runs(), house.sender.pending()) == (["entry_gone"], [], [])


@only_default
def test_a_target_that_does_not_answer_puts_a_command_off(house: House) -> None:
    """A rollback whose plan cannot be looked up now is no refusal: it stays, others pass, and it comes in later."""
    consumer = house.consumer(claim_seconds=0)

    def unreachable(_target: str, _migration: str) -> str:
        raise TargetUnreachable("the target does not answer")

    house.find = unreachable
    put_off = house.sender.add(envelope=house.sender.envelope(kind=Kind.ROLLBACK, migration="add_health_metrics_table"))
    house.sender.add(envelope=house.sender.envelope())
    consumer.round()
    assert (len(house.runs()), house.sender.pending(), house.sender.dead_letters()) == (1, [put_off], [])
    house.find = pin

    consumer.round()

    assert (len(house.runs()), house.sender.pending(), house.sender.left()) == (2, [], 0)


@only_default
def test_a_bug_of_ours_costs_nobody_else_a_command(house: House) -> None:
    """Where Stepback itself breaks on a command, that one stays on the stream, and the others of its batch come in."""
    consumer = house.consumer(claim_seconds=0)

    def broken(_target: str, _migration: str) -> str:
        raise ZeroDivisionError

    house.find = broken
    stays = house.sender.add(envelope=house.sender.envelope(kind=Kind.ROLLBACK, migration="add_health_metrics_table"))
    for _ in range(3):
        house.sender.add(envelope=house.sender.envelope())

    with capture_logs() as lines:
        consumer.round()

    assert (len(house.runs()), house.sender.pending(), house.sender.dead_letters()) == (3, [stays], [])
    assert "stream_batch_broke" in {line["event"] for line in lines}


# -- servers away -----------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"payload": b"poison"}])
@only_default
def test_without_a_ledger_nothing_is_settled(
    house: House, ledger_database: str, ledger_admin_url: str, fields: dict[str, bytes]
) -> None:
    """While the ledger does not answer no entry is taken away, poison neither; then each has its outcome, once."""
    consumer = house.consumer(claim_seconds=0)
    house.sender.add(**(fields or {"envelope": house.sender.envelope().encode()}))
    _allow_connections(ledger_admin_url, ledger_database, "false")
    for _ in range(2):
        with pytest.raises(LedgerUnreachable):
            consumer.round()
    assert (house.sender.left(), house.sender.answers(), house.sender.dead_letters()) == (1, [], [])
    _allow_connections(ledger_admin_url, ledger_database, "true")

    consumer.round()

    assert (house.sender.left(), house.sender.pending(), len(house.sender.answers())) == (0, [], 1)
    assert len(house.runs()) + len(house.refusals()) == 1


def _allow_connections(url: str, database: str, allowed: str) -> None:
    with psycopg.connect(url.replace(f"/{database}", "/postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.SQL(allowed))
        )
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


@only_default
def test_a_lost_group_is_made_again(house: House) -> None:
    """After Redis has lost everything, as one without persistence does, the next entries are read all the same."""
    consumer = house.consumer()
    house.sender.redis.delete(house.sender.stream.name)
    consumer.round()
    house.sender.add(envelope=house.sender.envelope())

    consumer.round()

    assert len(house.runs()) == 1


def test_a_redis_that_does_not_answer_is_said_so(tmp_path: object) -> None:
    """The error names no URL and says where the entries are."""
    nowhere = open_doorbell(f"unix://{tmp_path}/{CANARY}", namespace="x")

    with pytest.raises(QueueUnreachable, match="its entries stay") as error:
        Group(nowhere, StreamSettings(), "one").make()

    assert CANARY not in str(error.value)


# -- configuration, leaving -------------------------------------------------


@only_default
def test_names_among_the_keys_of_the_doorbell_are_refused(house: House, redis_namespace: str) -> None:
    """A stream in the place of the queue would silence the doorbell; one in that of the events would eat them."""
    for name in ("commands", "events"):
        with pytest.raises(BadConfiguration, match="must not begin with"):
            house.consumer(name=f"{redis_namespace}:{name}")


@only_default
def test_streams_of_one_name_are_refused(house: House) -> None:
    """Dead letters on the stream itself would be read for ever."""
    with pytest.raises(BadConfiguration, match="three different names"):
        house.consumer(dead_letters=house.settings.stream.name)


@only_default
def test_a_key_that_is_no_stream_is_refused(house: House) -> None:
    """A name that something else has is found out before anything is read."""
    house.sender.redis.set(house.settings.stream.dead_letters, "x")

    with pytest.raises(BadConfiguration, match="something else than a stream"):
        house.consumer()


@only_default
def test_who_leaves_is_off_the_list_unless_something_is_pending(house: House) -> None:
    """A consumer that ends leaves no name behind, but never takes along what it has read and not settled."""
    house.consumer()
    group = Group(house.broker, house.settings.stream, "one")
    house.sender.add(envelope=house.sender.envelope())
    group.new(wait_ms=1000)
    group.leave()
    assert len(house.sender.pending()) == 1
    house.consumer("two", claim_seconds=0).round()

    group.leave()
    Group(house.broker, house.settings.stream, "two").leave()

    assert house.sender.redis.xinfo_consumers(house.sender.stream.name, house.sender.stream.group) == []
