"""How many commands a second get in by each door, beside what the same servers do bare.

Method: one embedded PostgreSQL with its ordinary settings (fsync and synchronous_commit on) and one embedded Redis. The
doors are processes: `stepback gateway`, `stepback outbox` and `stepback stream`, one of each; no worker runs.
Every command is a rollback of one plan that comes along, on a target of that server: signature, rights, hourly limit,
plan hash, ledger row, audit event and doorbell are all paid for. Envelopes are signed before the clock starts, except
those of the outbox, which signs them itself.

A round measures, one after the other, for the same number of commands:
- bare send: one dramatiq message after the other, on the same Redis
- bare insert: one row after the other into a small table, each committed by itself, on one connection
- submit: one envelope after the other through the one way in, in this process
- gateway: POST /v1/commands by concurrent clients over connections that are kept open, until the last answer is there
- outbox: requests that one transaction of the application commits, until the last is in the ledger
- stream: entries that one pipeline adds, until the last is in the ledger

Shares of the slower of the two bare ones are taken within a round; their medians over rounds are printed, and those of
gateway, outbox and stream have to reach AT_LEAST. Submitting one by one is shown, not judged: it pays for a COMMIT and
every exchange with ledger and Redis by itself, which a batch shares; the gateway's batches are as large as its
clients are many. They share the machine with it. Other work on it spoils the figures: a door needs mostly processor
time, an insert mostly the disk.

Run: python -m benchmarks.doors [--commands 1000] [--clients 128] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dramatiq
import psycopg
from joserfc.jwk import OKPKey
from redis import Redis as Client
from sqlalchemy import text

from benchmarks.stage import Stage, admin, stage
from ledger.database import transaction
from ledger.doorbell import ACTOR, QUEUE, open_doorbell
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.log import configure_logging
from ledger.model import Kind
from ledger.request import Request
from ledger.settings import ProducerSettings, Settings, TargetSettings
from producers.envelope import sign
from producers.keys import PrivateKey
from producers.submit import OneWayIn
from stepback.embedded import Redis
from stepback.pins import Pins
from worker.install import install
from worker.target import connect

#: What is required of the three doors, as a share of the slower of the two bare ones.
AT_LEAST = 0.4
DOORS = ("gateway", "outbox", "stream")
BARE = ("bare send", "bare insert")

_TARGET, _MIGRATION, _ISSUER = "goodbuy_hq", "add_health_alerts", "service:benchmark"
_STEPBACK = (sys.executable, "-m", "stepback")
_PLANS = Path(__file__).parent.parent / "sql" / "plans" / _TARGET
#: Longer than any of it takes.
_PATIENCE_SECONDS = 120.0
_ENDLESS = 10**9

_CONFIGURATION = """
[targets.{target}]
url = "{target_url}"
plans = "{plans}"
[outboxes.shop]
url = "{shop_url}"
[gateway]
port = 0
max_per_second = {endless}
max_connections = 1000
[producers."{issuer}"]
kinds = ["rollback"]
targets = ["*"]
destructive_per_hour = {endless}
[producers."outbox:shop/goodbuy_app"]
kinds = ["rollback"]
targets = ["*"]
destructive_per_hour = {endless}
"""


@dataclass
class House:
    """Servers, the doors that run on them, and a key that they know."""

    stage: Stage
    redis: Redis
    key: PrivateKey
    target_url: str
    shop_url: str
    #: Where the gateway listens.
    gateway_url: str = ""

    def envelopes(self, count: int) -> list[str]:
        """Return signed rollbacks."""
        now, audience = datetime.now(UTC), str(installation_id(self.stage.engine))
        return [
            sign(
                Request(
                    kind=Kind.ROLLBACK,
                    target=_TARGET,
                    migration=_MIGRATION,
                    reason="benchmark",
                    command_id=uuid4(),
                    audience=audience,
                    issuer=_ISSUER,
                    issued_at=now,
                    not_after=now + timedelta(hours=1),
                ),
                self.key,
            )
            for _ in range(count)
        ]

    def recorded(self) -> int:
        """Return how many commands are in the ledger."""
        with transaction(self.stage.engine) as conn:
            return int(conn.execute(text("SELECT count(*) FROM ledger.commands")).scalar_one())

    def wait(self, count: int) -> None:
        """Wait until so many commands are in the ledger."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.recorded() < count:
            assert time.monotonic() < deadline, f"only {self.recorded()} of {count} commands are in the ledger"
            time.sleep(0.01)


def measure(house: House, commands: int, clients: int, rounds: int) -> dict[str, list[float]]:
    """Return commands per second of every way and round, interleaved."""
    ways: dict[str, Callable[[], float]] = {
        "bare send": lambda: _bare_send(house, commands),
        "bare insert": lambda: _bare_insert(house, commands),
        "submit": lambda: _submit(house, commands),
        "gateway": lambda: asyncio.run(_gateway(house, commands, clients)),
        "outbox": lambda: _outbox(house, commands),
        "stream": lambda: _stream(house, commands),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            before = house.recorded()
            rates[name].append(commands / way())
            assert house.recorded() == before + (0 if name in BARE else commands), name
    return rates


# -- the ways: each returns seconds ---------------------------------------------


def _bare_send(house: House, count: int) -> float:
    broker = open_doorbell(house.redis.url, namespace=f"bare-{uuid4().hex}")
    began = time.monotonic()
    for _ in range(count):
        broker.enqueue(dramatiq.Message(QUEUE, ACTOR, (str(uuid4()),), {}, {}))
    seconds = time.monotonic() - began
    broker.flush_all()
    broker.client.close()
    return seconds


def _bare_insert(house: House, count: int) -> float:
    with psycopg.connect(house.shop_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, said text, at timestamptz DEFAULT now())")
        conn.execute("SET synchronous_commit = on")
        began = time.monotonic()
        for _ in range(count):
            conn.execute("INSERT INTO bare (id, said) VALUES (%s, 'benchmark')", [uuid4()])
        return time.monotonic() - began


def _submit(house: House, count: int) -> float:
    envelopes = house.envelopes(count)
    rights = ProducerSettings(kinds=frozenset({"rollback"}), targets=("*",), destructive_per_hour=_ENDLESS)
    target = TargetSettings.model_validate({"url": house.target_url, "plans": _PLANS})
    settings = Settings(targets={_TARGET: target}, producers={_ISSUER: rights})
    broker = open_doorbell(house.redis.url, namespace="stepback")
    with Pins(settings) as pin:
        way_in = OneWayIn(engine=house.stage.engine, broker=broker, settings=settings, pin=pin, via="command_line")
        began = time.monotonic()
        for envelope in envelopes:
            way_in.submit(envelope)
        seconds = time.monotonic() - began
    broker.client.close()
    return seconds


async def _gateway(house: House, count: int, clients: int) -> float:
    host = house.gateway_url.removeprefix("http://")
    address, _, port = host.rpartition(":")
    # Written out beforehand, over bare connections: a client library takes as much of the processor as the door.
    requests = iter([_post(host, json.dumps({"envelope": each}).encode()) for each in house.envelopes(count)])
    connections = [await asyncio.open_connection(address, int(port)) for _ in range(clients)]

    async def ask(answers: asyncio.StreamReader, connection: asyncio.StreamWriter) -> None:
        for request in requests:
            connection.write(request)
            head = (await answers.readuntil(b"\r\n\r\n")).decode().lower()
            body = await answers.readexactly(int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]))
            assert head.startswith("http/1.1 202 "), body
        connection.close()
        await connection.wait_closed()

    began = time.monotonic()
    await asyncio.gather(*(ask(*connection) for connection in connections))
    return time.monotonic() - began


def _post(host: str, body: bytes) -> bytes:
    head = f"POST /v1/commands HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _outbox(house: House, count: int) -> float:
    until = house.recorded() + count
    with psycopg.connect(house.shop_url, autocommit=True) as conn:
        began = time.monotonic()
        conn.execute(
            "SELECT stepback.request_rollback(migration => %s, reason => 'benchmark', target => %s)"
            " FROM generate_series(1, %s)",
            [_MIGRATION, _TARGET, count],
        )
        house.wait(until)
        return time.monotonic() - began


def _stream(house: House, count: int) -> float:
    envelopes, until = house.envelopes(count), house.recorded() + count
    with Client.from_url(house.redis.url) as client, client.pipeline(transaction=False) as commands:
        began = time.monotonic()
        for envelope in envelopes:
            commands.xadd("stepback.commands", {"envelope": envelope})
        commands.execute()
        house.wait(until)
        return time.monotonic() - began


# -- the house --------------------------------------------------------------


@contextmanager
def open_house() -> Iterator[House]:
    """Start servers and doors."""
    with ExitStack() as stack:
        here = stack.enter_context(stage())
        data = here.server.data
        redis = stack.enter_context(Redis.start(data))
        house = House(here, redis, _known_key(here), _target(here), _shop(here))
        (data / "stepback.toml").write_text(
            _CONFIGURATION.format(
                target=_TARGET,
                target_url=house.target_url,
                plans=_PLANS,
                shop_url=here.server.superuser_url("shop"),
                issuer=_ISSUER,
                endless=_ENDLESS,
            ),
            encoding="utf-8",
        )
        logs = {door: stack.enter_context(_running(door, house)) for door in DOORS}
        started = {"gateway": "gateway_started", "outbox": "outbox_opened", "stream": "stream_started"}
        for door, log in logs.items():
            _said(log, started[door])
        house.gateway_url = _gateway_url(logs["gateway"])
        yield house


def _known_key(here: Stage) -> PrivateKey:
    key = PrivateKey.of(OKPKey.generate_key("Ed25519"), _ISSUER)
    with transaction(here.engine) as conn:
        register_key(conn, key.key_id, key.issuer, key.public_key)
    return key


def _target(here: Stage) -> str:
    admin(here.server, f"CREATE DATABASE {_TARGET} OWNER goodbuy_app")
    url = here.server.url(_TARGET, "stepback_worker")
    session = connect(url, "benchmark")
    install(session)
    session.close()
    return url


def _shop(here: Stage) -> str:
    """Make the application's database, as its administrator does; return its URL for the application."""
    admin(here.server, "CREATE DATABASE shop OWNER goodbuy_app")
    printed = subprocess.run([*_STEPBACK, "outbox", "--sql"], capture_output=True, check=True, cwd=here.server.data)  # noqa: S603 - ours
    with psycopg.connect(here.server.superuser_url("shop"), autocommit=True) as conn:
        conn.execute(printed.stdout)
        conn.execute("GRANT stepback_requester TO goodbuy_app")
    return here.server.url("shop", "goodbuy_app")


@contextmanager
def _running(door: str, house: House) -> Iterator[Path]:
    """Keep a door's process running; give its log."""
    data = house.stage.server.data
    log = data / f"{door}.log"
    environ: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STEPBACK_")},
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "STEPBACK_CONFIG": str(data / "stepback.toml"),
        "STEPBACK_DATA": str(data),
        "STEPBACK_LEDGER_URL": house.stage.server.url("stepback_ledger", "stepback_app"),
        "STEPBACK_REDIS_URL": house.redis.url,
    }
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            [*_STEPBACK, door], env=environ, stdout=sink, stderr=sink, cwd=data
        )
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()


def _said(log: Path, words: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while words not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.05)


def _gateway_url(log: Path) -> str:
    words = log.read_text(encoding="utf-8").split('"url": "', 1)[1]
    return words.split('"', 1)[0]


# -- the verdict ------------------------------------------------------------


def shares(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each way's share of the slower bare one: of every round, and of those the median."""
    slower = [min(both) for both in zip(*(rates[name] for name in BARE), strict=True)]
    return {
        name: statistics.median(rate / bare for rate, bare in zip(of_one, slower, strict=True))
        for name, of_one in rates.items()
    }


def tell(rates: Mapping[str, Sequence[float]], commands: int) -> bool:
    """Print what came out; return whether every door reaches what is required."""
    reached = shares(rates)
    print(f"rollback commands per second, {commands} a round, medians of {len(rates['submit'])} rounds")
    for name, of_one in rates.items():
        required = f" (required: {AT_LEAST})" if name in DOORS else ""
        each = ", ".join(f"{rate:.0f}" for rate in of_one)
        share = f"{reached[name]:.2f} of the slower bare one{required}"
        print(f"  {name:<12} {statistics.median(of_one):>8.0f}   {share}   [{each}]")
    return all(reached[name] >= AT_LEAST for name in DOORS)


def main() -> int:
    """Measure, print, and return 0 only if what is required holds."""
    parser = argparse.ArgumentParser(description="How many commands a second get in by each door")
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    configure_logging(level="ERROR")
    with open_house() as house:
        rates = measure(house, options.commands, options.clients, options.rounds)
    return 0 if tell(rates, options.commands) else 1


if __name__ == "__main__":
    sys.exit(main())
