"""The relay: what was asked in an application's database becomes one command, and the answer comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from dramatiq.brokers.redis import RedisBroker
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from sqlalchemy import Engine
from structlog.testing import capture_logs

from ledger import audit, runs
from ledger.database import open_ledger, transaction
from ledger.doorbell import open_doorbell
from ledger.errors import LedgerUnreachable, UnknownMigration
from ledger.installation import installation_id
from ledger.keys import register_key, revoke_key
from ledger.model import AuditEvent, Kind, Run
from ledger.settings import OutboxSettings, ProducerSettings, Settings, TargetSettings
from producers.keys import PrivateKey
from producers.outbox import BATCH, Relay
from producers.outbox_database import OutboxNotInstalled, OutboxUnreachable, connect
from producers.outbox_watch import Watch
from producers.submit import OneWayIn
from tests.fix_outbox import Application

PLAN = "5e" * 32
SECRET = "canary-5b1e"
ASK = "SELECT stepback.request_rollback('add_prices', 'wrong prices', 'shop') AS id"
MAY = ProducerSettings(kinds=frozenset({"rollback", "recover"}), targets=("shop",), destructive_per_hour=1000)
SETTINGS = Settings(
    targets={"shop": TargetSettings(url=SecretStr("postgresql://never-reached/"))},
    producers={"outbox:shop/shop_billing": MAY, "outbox:shop/odd%2Frole": MAY},
)


def pin(_target: str, migration: str) -> str:
    """Find one plan."""
    if migration != "add_prices":
        raise UnknownMigration("no such plan")
    return PLAN


@dataclass
class Bench:
    """One outbox with a relay, and the ledger behind it."""

    application: Application
    engine: Engine
    relay: Relay

    def ask(self, statement: str = ASK, login: str = "shop_billing") -> UUID:
        """Ask for something, and return the id of the command."""
        (row,) = self.application.execute(login, statement)
        found = row["id"]
        assert isinstance(found, UUID)
        return found

    def relay_once(self, relay: Relay | None = None) -> int:
        """Have a new session relay what waits; return how many requests were answered."""
        with closing(self.session()) as conn:
            return (relay or self.relay).relay(conn)

    def session(self) -> psycopg.Connection[dict[str, Any]]:
        """Return the relay's session."""
        return connect("shop", self.application.url("stepback_relay"))

    def seen(self, login: str = "shop_billing") -> list[dict[str, Any]]:
        """Return what a login sees of its requests."""
        return self.application.execute(login, "SELECT * FROM stepback.requests ORDER BY requested_at")

    def runs(self) -> list[Run]:
        """Return all runs, oldest first."""
        with transaction(self.engine) as conn:
            return sorted(runs.list_runs(conn, limit=1000), key=lambda run: run.run)

    def events(self, type_: str) -> list[AuditEvent]:
        """Return the audit events of a type."""
        with transaction(self.engine) as conn:
            assert audit.verify(conn).ok
            return [event for event in audit.read(conn) if event.type == type_]


def a_key(engine: Engine) -> PrivateKey:
    """Return a new key of the outbox, known to the ledger."""
    key = PrivateKey.of(OKPKey.generate_key("Ed25519"), "outbox:shop")
    with transaction(engine) as conn:
        register_key(conn, key.key_id, key.issuer, key.public_key)
    return key


@pytest.fixture
def broker(redis_url: str, redis_namespace: str) -> Iterator[RedisBroker]:
    """Give a doorbell of one's own."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def bench(application: Application, ledger_engine: Engine, broker: RedisBroker) -> Bench:
    """Give an outbox whose relay is at hand."""
    door = OneWayIn(engine=ledger_engine, broker=broker, settings=SETTINGS, pin=pin, via="outbox")
    relay = Relay("shop", a_key(ledger_engine), installation_id(ledger_engine), door)
    return Bench(application, ledger_engine, relay)


# -- there and back ---------------------------------------------------------


def test_a_request_becomes_a_run(bench: Bench) -> None:
    """The command has the row's id, and is asked for by the login behind the outbox; its number comes back."""
    command_id = bench.ask()

    assert bench.relay_once() == 1

    (run,) = bench.runs()
    assert (run.command_id, run.kind, run.target, run.migration) == (command_id, Kind.ROLLBACK, "shop", "add_prices")
    assert (run.requested_by, run.reason) == ("outbox:shop/shop_billing", "wrong prices")
    (row,) = bench.seen()
    assert (row["state"], row["run"], row["refused_code"]) == ("accepted", run.run, None)
    assert bench.relay_once() == 0


def test_a_recovery_becomes_a_run(bench: Bench) -> None:
    """What a recovery names travels along: the run, the member, the policy."""
    bench.ask()
    bench.relay_once()
    (subject,) = bench.runs()

    bench.ask(
        f"SELECT stepback.request_recovery({subject.run}, 'they were right', 'shop', policy => 'overwrite') AS id"
    )
    bench.relay_once()

    _, run = bench.runs()
    assert (run.kind, run.subject_run, run.migration) == (Kind.RECOVER, subject.run, "add_prices")


def test_it_is_said_where_a_command_came_in(bench: Bench) -> None:
    """The audit log names the door and who asked."""
    bench.ask()
    bench.relay_once()

    (event,) = bench.events("command_submitted")
    assert (event.actor, event.detail["via"]) == ("outbox:shop/shop_billing", "outbox")


def test_who_has_no_right_is_told_so(bench: Bench) -> None:
    """May somebody ask in SQL, their login needs a right at the door all the same; the refusal is theirs to read."""
    bench.ask(login="shop_orders")

    bench.relay_once()

    (row,) = bench.seen("shop_orders")
    assert (row["state"], row["run"], row["refused_code"]) == ("refused", None, "not_allowed")
    assert "outbox:shop/shop_orders" in row["refused_message"]
    assert bench.runs() == []
    (event,) = bench.events("command_refused")
    assert event.actor == "outbox:shop/shop_orders"


def test_a_refusal_harms_no_other(bench: Bench) -> None:
    """Of a batch with one request that cannot be, the others are carried out."""
    bench.ask()
    bench.ask(ASK.replace("add_prices", "add_nothing"))
    bench.ask()

    assert bench.relay_once() == 3

    assert [row["refused_code"] for row in bench.seen()] == [None, "unknown_migration", None]
    assert len(bench.runs()) == 2


def test_a_role_with_a_slash_is_nobody_else(bench: Bench) -> None:
    """The name of a role is quoted in the name of the issuer: `odd/role` is not `role` behind `outbox:shop/odd`."""
    admin = "postgres"
    try:
        bench.application.execute(admin, 'CREATE ROLE "odd/role" LOGIN IN ROLE stepback_requester')
        bench.ask(login="odd/role")
        bench.relay_once()
    finally:
        bench.application.execute(admin, 'DROP ROLE "odd/role"')

    assert [run.requested_by for run in bench.runs()] == ["outbox:shop/odd%2Frole"]


def test_a_request_waits_no_longer_than_it_said(bench: Bench) -> None:
    """While nobody relays a request grows old: then it is not begun any more, and that is its answer."""
    bench.ask(ASK.replace("'shop')", "'shop', valid_for => '1 millisecond')"))
    time.sleep(0.01)

    bench.relay_once()

    assert [row["refused_code"] for row in bench.seen()] == ["expired"]


def test_many_requests_are_relayed_in_order(bench: Bench) -> None:
    """More than a batch takes several rounds; the runs have the order of the requests."""
    asked = [
        row["id"]
        for row in bench.application.execute(
            "shop_billing",
            "SELECT stepback.request_rollback('add_prices', 'n ' || n, 'shop') AS id"
            f" FROM generate_series(1, {BATCH + 3}) AS n",
        )
    ]

    assert [bench.relay_once(), bench.relay_once(), bench.relay_once()] == [BATCH, 3, 0]

    assert [run.command_id for run in bench.runs()] == asked


def test_several_relays_share_the_work(bench: Bench) -> None:
    """Relays of the same outbox at once make one run of each request."""
    count = 3 * BATCH
    bench.application.execute("shop_billing", f"{ASK} FROM generate_series(1, {count})")

    def empty(_: int) -> int:
        with closing(bench.session()) as conn:
            return sum(iter(lambda: bench.relay.relay(conn), 0))

    with ThreadPoolExecutor(3) as pool:
        answered = sum(pool.map(empty, range(3)))

    answered += bench.relay_once()
    assert (answered, len(bench.runs()), len(bench.events("command_submitted"))) == (count, count, count)


# -- exactly one effect -----------------------------------------------------


class Fallen(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", ["begun", "signed", "envelope_kept", "taken", "handed_in", "answered", "answer_kept"])
def test_whatever_was_done_is_done_once(bench: Bench, point: str) -> None:
    """A relay that stops at any place is followed by one that finishes: one run, and its number in the outbox."""

    def fall(at: str) -> None:
        if at == point:
            raise Fallen

    command_id = bench.ask()
    with pytest.raises(Fallen):
        bench.relay_once(replace(bench.relay, at=fall))

    bench.relay_once()

    (run,) = bench.runs()
    assert run.command_id == command_id
    assert [row["run"] for row in bench.seen()] == [run.run]
    assert len(bench.events("command_submitted")) == 1


def test_an_answer_that_was_lost_is_found_though_the_time_is_over(bench: Bench) -> None:
    """What was handed in before its time was over has its run, though the relay comes back afterwards."""

    def fall(at: str) -> None:
        if at == "handed_in":
            raise Fallen

    bench.ask(ASK.replace("'shop')", "'shop', valid_for => '1 second')"))
    with pytest.raises(Fallen):
        bench.relay_once(replace(bench.relay, at=fall))
    time.sleep(1.1)

    bench.relay_once()

    assert [row["run"] for row in bench.seen()] == [run.run for run in bench.runs()]


def test_a_database_that_was_restored_asks_for_nothing_twice(bench: Bench) -> None:
    """A backup brings requests back as they were before they were relayed: the same rows are the same commands."""
    bench.ask()
    bench.relay_once()
    bench.application.execute("postgres", "UPDATE stepback.outbox SET envelope = NULL, run = NULL, answered_at = NULL")

    bench.relay_once()

    (run,) = bench.runs()
    assert [row["run"] for row in bench.seen()] == [run.run]
    assert bench.events("command_refused") == []


def test_the_key_of_a_request_holds_in_the_ledger(bench: Bench) -> None:
    """Where answered rows were deleted, the ledger still knows what was asked under the requester's own key."""
    bench.ask(ASK.replace("'shop')", "'shop', 'incident-12')"))
    bench.relay_once()
    bench.application.execute("postgres", "DELETE FROM stepback.outbox")

    bench.ask(ASK.replace("'shop')", "'shop', 'incident-12')"))
    bench.relay_once()

    (run,) = bench.runs()
    assert [row["run"] for row in bench.seen()] == [run.run]


# -- whom the relay believes ------------------------------------------------


def test_the_outbox_cannot_speak_for_others(bench: Bench) -> None:
    """Whoever owns the application's database can put any name there: it is still one behind this outbox."""
    bench.ask()
    bench.application.execute("postgres", "UPDATE stepback.outbox SET requested_by = 'local:ada'")

    bench.relay_once()

    (event,) = bench.events("command_refused")
    assert event.actor == "outbox:shop/local%3Aada"
    assert bench.runs() == []


@pytest.mark.parametrize("envelope", ["nonsense", f"postgresql://app:{SECRET}@db/x", "x" * 100_000])
def test_an_envelope_that_is_none_is_refused(bench: Bench, envelope: str) -> None:
    """A text that somebody put in the envelope's place is refused, and repeated nowhere."""
    bench.ask()
    bench.application.execute("postgres", "UPDATE stepback.outbox SET envelope = %s", envelope)

    with capture_logs() as logs:
        bench.relay_once()

    (row,) = bench.seen()
    assert row["refused_code"] == "bad_signature"
    assert SECRET not in repr((row["refused_message"], logs, bench.events("command_refused")))


def test_a_request_that_no_function_made_is_refused(bench: Bench) -> None:
    """A kind that an outbox does not have is refused, and the requests behind it go on."""
    bench.ask()
    bench.application.execute(
        "postgres",
        "ALTER TABLE stepback.outbox DROP CONSTRAINT outbox_kind_check; UPDATE stepback.outbox SET kind = 'drop'",
    )
    bench.ask()

    assert bench.relay_once() == 2

    assert [row["refused_code"] for row in bench.seen()] == ["bad_request", None]


def test_a_revoked_key_opens_nothing(bench: Bench) -> None:
    """Once the relay's key is revoked, what it signs is refused."""
    with transaction(bench.engine) as conn:
        revoke_key(conn, bench.relay.key.key_id, actor="local:ada")
    bench.ask()

    bench.relay_once()

    assert [row["refused_code"] for row in bench.seen()] == ["bad_signature"]
    assert bench.runs() == []


# -- outages ----------------------------------------------------------------


def test_without_the_ledger_requests_wait(bench: Bench, tmp_path: Path) -> None:
    """A ledger that does not answer refuses nothing: the request waits, and is carried out when the ledger is back."""
    gone = open_ledger(f"postgresql://stepback_app@/nowhere?host={tmp_path}")
    door = replace(bench.relay.door, engine=gone)
    bench.ask()

    with pytest.raises(LedgerUnreachable):
        bench.relay_once(replace(bench.relay, door=door))
    gone.dispose()

    assert [row["state"] for row in bench.seen()] == ["waiting"]
    bench.relay_once()
    assert [row["state"] for row in bench.seen()] == ["accepted"]


def test_without_redis_a_request_is_accepted(bench: Bench, tmp_path: Path) -> None:
    """The command is in the ledger, where the reconciler finds it: that is an acceptance."""
    silent = open_doorbell(f"unix://{tmp_path}/nowhere", namespace="stepback")
    bench.ask()

    bench.relay_once(replace(bench.relay, door=replace(bench.relay.door, broker=silent)))

    assert [row["run"] for row in bench.seen()] == [run.run for run in bench.runs()]


def test_a_database_without_an_outbox_is_told_apart(bench: Bench, target_admin_url: str) -> None:
    """A database that nobody put an outbox into is not one that is away."""
    with closing(connect("shop", target_admin_url)) as conn, pytest.raises(OutboxNotInstalled):
        bench.relay.relay(conn)


@contextmanager
def watching(bench: Bench, url: str, poll_seconds: float = 30) -> Iterator[None]:
    """Keep a watch running during the block."""
    stop = threading.Event()
    watch = Watch(bench.relay, OutboxSettings(url=SecretStr(url), poll_seconds=poll_seconds), stop)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive(), "it ends when it is told to"


def wait_until_answered(bench: Bench) -> None:
    """Wait until no request waits."""
    deadline = time.monotonic() + 20
    while any(row["answered_at"] is None for row in bench.application.rows()):
        assert time.monotonic() < deadline, "waited in vain for an answer"
        time.sleep(0.02)


def test_a_notification_is_quicker_than_the_poll(bench: Bench) -> None:
    """A request is relayed when it commits, however seldom the outbox is looked at."""
    with watching(bench, bench.application.url("stepback_relay"), poll_seconds=600), capture_logs():
        bench.ask()
        wait_until_answered(bench)
        bench.ask()
        wait_until_answered(bench)

    assert len(bench.runs()) == 2


def test_a_cut_connection_is_made_again(bench: Bench) -> None:
    """When the application's database throws the relay out, it says so, comes back, and goes on."""
    with capture_logs() as logs, watching(bench, bench.application.url("stepback_relay"), poll_seconds=600):
        bench.ask()
        wait_until_answered(bench)
        bench.application.execute(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'stepback_relay' AND datname = current_database()",
        )
        bench.ask()
        wait_until_answered(bench)

    (waits,) = [line for line in logs if line["event"] == "outbox_waits"]
    assert (waits["outbox"], waits["code"]) == ("shop", "outbox_unreachable")
    assert len([line for line in logs if line["event"] == "outbox_opened"]) == 2


def test_a_database_that_is_away_is_tried_again_and_named(bench: Bench, tmp_path: Path) -> None:
    """Each try is logged with the outbox and a growing pause, and never with the URL."""
    with capture_logs() as logs, watching(bench, f"postgresql://app:{SECRET}@/x?host={tmp_path}"):
        deadline = time.monotonic() + 20
        while len(logs) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert [line["pause_seconds"] for line in logs[:2]] == [0.5, 1.0]
    assert {(line["event"], line["outbox"], line["code"]) for line in logs} == {
        ("outbox_waits", "shop", "outbox_unreachable")
    }
    assert SECRET not in repr(logs)


@pytest.mark.parametrize("url", [f"postgresql://app:{SECRET}@[/x", f"nonsense {SECRET}", "postgresql:///x?nonsense=1"])
def test_a_url_that_cannot_be_read_stays_nowhere(url: str) -> None:
    """A bad URL is an error of the configuration that repeats none of it."""
    with pytest.raises(Exception, match="cannot be read") as failure:
        connect("shop", url)

    assert SECRET not in str(failure.value)
    assert not isinstance(failure.value, OutboxUnreachable)
