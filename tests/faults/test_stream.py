"""Consumers of the stream are killed, servers go away: every command still gets in, and every one has one effect."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from redis import Redis as Client

from ledger.settings import StreamSettings
from stepback.embedded import Redis
from tests.acceptance.commandline import CommandLine, said, wait_for
from tests.streaming import ISSUER, Sender, a_sender

_CONFIGURATION = f"""
[targets.goodbuy_hq]
url = "postgresql://never-reached/"
[producers."{ISSUER}"]
kinds = ["validate"]
targets = ["goodbuy_hq"]
[stream]
claim_seconds = 0.5
"""


@dataclass
class Stream:
    """A stream on a Redis of its own, consumers in processes, and the ledger that they share."""

    cli: CommandLine
    redis: Redis
    sender: Sender
    admin_url: str
    logs: Path

    @contextmanager
    def consumer(self) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Keep a consumer running; give its process and its log."""
        log = self.logs / f"stream-{uuid4().hex[:8]}.log"
        with self.cli.running("stream", log=log) as process:
            wait_for("the consumer to start", said(log, "stream_started"))
            yield process, log

    def recorded(self) -> list[Any]:
        """Return the ids of all commands in the ledger."""
        with psycopg.connect(self.admin_url) as conn:
            return [row[0] for row in conn.execute("SELECT command_id FROM ledger.commands")]

    @contextmanager
    def busy_ledger(self) -> Iterator[Callable[[], None]]:
        """Let nobody write a command down until the block ends, or what is given is called."""
        with psycopg.connect(self.admin_url) as conn:
            conn.execute("LOCK TABLE ledger.commands IN ACCESS EXCLUSIVE MODE")
            yield conn.rollback

    def allow_ledger(self, allowed: str) -> None:
        """Open the ledger to connections, or shut it and cut those there are."""
        database = conninfo_to_dict(self.admin_url)["dbname"]
        with psycopg.connect(self.admin_url, dbname="postgres", autocommit=True) as admin:
            name = sql.Identifier(str(database))
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.SQL(allowed)))
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])

    def settled(self) -> bool:
        """Return whether nothing is on the stream any more."""
        return self.sender.left() == 0 and self.sender.pending() == []


@pytest.fixture
def stream(
    data_folder: Path, tmp_path: Path, ledger_engine: sqlalchemy.Engine, ledger_url: str, ledger_admin_url: str
) -> Iterator[Stream]:
    """Give a stream on a Redis that the test may stop."""
    (tmp_path / "stepback.toml").write_text(_CONFIGURATION, encoding="utf-8")
    with Redis.start(data_folder) as server:
        client = Client.from_url(server.url)
        cli = CommandLine(
            tmp_path,
            {
                "STEPBACK_DATA": str(tmp_path / "data"),
                "STEPBACK_LEDGER_URL": ledger_url,
                "STEPBACK_REDIS_URL": server.url,
            },
        )
        sender = a_sender(ledger_engine, client, StreamSettings())
        yield Stream(cli, server, sender, ledger_admin_url, tmp_path)
        client.close()


def test_killed_between_reading_and_recording(stream: Stream) -> None:
    """A consumer dies with entries that it has read and not handed in: another takes them over, none is lost."""
    with stream.consumer() as (process, _), stream.busy_ledger():
        stream.sender.add_together([stream.sender.envelope() for _ in range(5)])
        wait_for("the entries to be read", lambda: len(stream.sender.pending()) == 5)
        process.kill()
        process.wait()
    assert (stream.recorded(), stream.sender.left(), len(stream.sender.pending())) == ([], 5, 5)

    with stream.consumer():
        wait_for("the entries to be settled", stream.settled)

    assert len(stream.recorded()) == 5
    assert len({answer["run"] for answer in stream.sender.answers()}) == 5


def test_killed_between_recording_and_acknowledging(stream: Stream) -> None:
    """A consumer dies when commands are in the ledger and their entries are not settled: still one run for each."""
    with stream.consumer() as (process, _):
        with stream.busy_ledger() as free:
            stream.sender.add_together([stream.sender.envelope() for _ in range(5)])
            wait_for("the entries to be read", lambda: len(stream.sender.pending()) == 5)
            # From now on Redis answers nobody who writes: neither the doorbell nor the acknowledgement gets through.
            stream.sender.redis.client_pause(60_000, all=False)
            free()
            wait_for("the commands to be recorded", lambda: len(stream.recorded()) == 5)
        process.kill()
        process.wait()
        stream.sender.redis.client_unpause()
    before = set(stream.recorded())
    assert (stream.sender.left(), stream.sender.answers()) == (5, [])

    with stream.consumer():
        wait_for("the entries to be settled", stream.settled)

    assert set(stream.recorded()) == before
    assert {answer["command_id"] for answer in stream.sender.answers()} == {str(each) for each in before}


def test_frozen_and_overtaken(stream: Stream) -> None:
    """A consumer that freezes with entries in hand and wakes when another has carried them changes nothing."""
    with stream.consumer() as (frozen, log):
        with stream.busy_ledger():
            stream.sender.add(envelope=stream.sender.envelope())
            wait_for("the entry to be read", lambda: len(stream.sender.pending()) == 1)
            os.kill(frozen.pid, signal.SIGSTOP)
        with stream.consumer():
            wait_for("the entry to be settled", stream.settled)
        os.kill(frozen.pid, signal.SIGCONT)
        # A second command shows that it goes on, and with it that it is through with the first.
        stream.sender.add(envelope=stream.sender.envelope())
        wait_for("the next one", stream.settled)

    assert frozen.returncode == 0, log.read_text(encoding="utf-8")
    assert len(stream.recorded()) == 2


def test_many_consumers_share_the_entries(stream: Stream) -> None:
    """With consumers that come and are killed all the time, each of many commands has one run and no entry is left."""
    entries = {*stream.sender.add_together([stream.sender.envelope() for _ in range(300)])}
    with stream.consumer() as (killed, _), stream.consumer():
        wait_for("some to be settled", lambda: stream.sender.left() < 300)
        killed.kill()
        entries |= {*stream.sender.add_together([stream.sender.envelope() for _ in range(100)])}
        wait_for("all to be settled", stream.settled)

    assert len(stream.recorded()) == 400
    assert {answer["entry"] for answer in stream.sender.answers()} == entries


def test_ledger_comes_back(stream: Stream) -> None:
    """While the ledger is away nothing is acknowledged, poison neither; the consumer says so once and goes on after."""
    with stream.consumer() as (process, log):
        stream.allow_ledger("false")
        stream.sender.add(envelope=stream.sender.envelope())
        stream.sender.add(payload="poison")
        wait_for("the consumer to notice", said(log, "stream_impeded"))
        assert (stream.sender.left(), stream.sender.answers(), stream.sender.dead_letters()) == (2, [], [])
        stream.allow_ledger("true")
        wait_for("the entries to be settled", stream.settled)
        wait_for("the consumer to say so", said(log, "stream_resumed"))

    assert process.returncode == 0
    assert log.read_text(encoding="utf-8").count("stream_impeded") == 1
    assert (len(stream.recorded()), len(stream.sender.dead_letters())) == (1, 1)


def test_redis_comes_back(stream: Stream) -> None:
    """While Redis is away the consumer waits; when it is back with what it had, every entry is read and settled."""
    with stream.consumer() as (process, log):
        with stream.busy_ledger():
            stream.sender.add(envelope=stream.sender.envelope())
            wait_for("the entry to be read", lambda: len(stream.sender.pending()) == 1)
            stream.sender.redis.save()
            stream.redis.stop()
        wait_for("the consumer to notice", said(log, "stream_impeded"))
        with Redis.start(stream.redis.data):
            stream.sender.add(envelope=stream.sender.envelope())
            wait_for("the entries to be settled", stream.settled)
            process.terminate()
            process.wait(30)

    assert process.returncode == 0
    assert len(stream.recorded()) == 2


def test_redis_comes_back_empty(stream: Stream) -> None:
    """A Redis that has lost stream and group gets both again, and the next entries are read."""
    with stream.consumer() as (_process, _log):
        stream.sender.redis.flushall()
        stream.sender.add(envelope=stream.sender.envelope())
        wait_for("the entry to be settled", lambda: len(stream.sender.answers()) == 1)

    assert len(stream.recorded()) == 1


def test_ends_when_it_is_told_to(stream: Stream) -> None:
    """A consumer that is told to end leaves the group's list and ends with 0."""
    with stream.consumer() as (process, log):
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    assert process.returncode == 0
    assert "stream_stopped" in log.read_text(encoding="utf-8")
    assert stream.sender.redis.xinfo_consumers("stepback.commands", "stepback") == []
