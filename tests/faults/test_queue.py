"""Redis loses messages, repeats them, goes away, and holds what was never a message: none of it may matter."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis as Client

from ledger.doorbell import ACTOR, QUEUE
from ledger.model import Kind, State
from stepback.embedded import Redis
from tests.faults.effects import one_effect
from tests.faults.processes import Station, frozen, wait_for
from tests.harness import completed
from worker.intake import MAX_PARKED

_CLAIMED = 'stepback_deliveries_total{result="claimed"}'
_NOTHING_TO_DO = 'stepback_deliveries_total{result="nothing_to_do"}'
_POISON = 'stepback_deliveries_total{result="poison"}'

#: What keeps a worker from ringing by itself: only what is delivered is carried out.
_ONLY_DELIVERED = {"STEPBACK_WORKER_RECONCILE_SECONDS": "3600"}


@contextmanager
def _client(station: Station) -> Iterator[Client]:
    client = Client.from_url(station.redis_url)
    try:
        yield client
    finally:
        client.close()


# -- lost -----------------------------------------------------------------------


def test_everything_in_redis_is_lost(station: Station, data_folder: Path) -> None:
    """FLUSHALL between ring and delivery: the reconciler rings again, and the run completes."""
    with Redis.start(data_folder) as redis:
        station = replace(station, redis_url=redis.url)
        command = station.engine.command()
        run = station.record(command)

        station.ring(command.command_id)
        with _client(station) as client:
            client.flushall()
        with station.worker():
            done = completed(station.ended(run))

    assert one_effect(station.engine, done) == 1
    assert station.told("doorbell_rung_again", command_id=str(command.command_id))


def test_redis_is_away_while_a_worker_runs(station: Station, data_folder: Path, tmp_path: Path) -> None:
    """Redis stops in mid-run: the run completes; Redis is back: the same worker carries out the next one."""
    engine, token = station.engine, tmp_path / "frozen"
    redis = Redis.start(data_folder)
    station = replace(station, redis_url=redis.url)
    command = engine.command()
    run = station.record(command)

    with station.workers(1, "impact_pinned", token):
        station.ring(command.command_id)
        pid = frozen(token)
        redis.stop()
        os.kill(pid, signal.SIGCONT)
        first = completed(station.ended(run))
        assert one_effect(engine, first) in {1, 2}
        recovery = station.record(engine.command(kind=Kind.RECOVER, subject_run=run))
        wait_for("the reconciler to notice", lambda: bool(station.told("reconciler_impeded")))
        with Redis.start(data_folder):
            second = completed(station.ended(recovery))
            wait_for("the queue to be empty", station.queue_is_empty)

    assert one_effect(engine, second) == 1
    assert station.told("reconciler_resumed")


def test_told_to_end_while_redis_is_away(station: Station, data_folder: Path, tmp_path: Path) -> None:
    """Told to end without Redis, a worker finishes its run, cannot give back what it fetched, and ends soon."""
    engine, token = station.engine, tmp_path / "frozen"
    redis = Redis.start(data_folder)
    station = replace(station, redis_url=redis.url, more={**_ONLY_DELIVERED, "STEPBACK_WORKER_THREADS": "1"})
    command = engine.command()
    run = station.record(command)

    with station.worker("impact_pinned", "SIGSTOP", token) as process:
        station.ring(command.command_id, times=4)
        pid = frozen(token)
        redis.stop()
        process.send_signal(signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert process.wait(timeout=15) == 0

    assert one_effect(engine, completed(engine.find(run))) in {1, 2}
    assert station.told("worker_stopped")


def test_told_to_end_over_and_over(station: Station) -> None:
    """Ctrl-C on a terminal brings two signals at once, impatience brings more: a worker ends all the same."""
    with station.worker() as process:
        station.port(process.pid)
        for number in [signal.SIGINT, signal.SIGTERM] * 500:
            process.send_signal(number)
        assert process.wait(timeout=20) == 0

    assert len(station.told("worker_stopping")) == 1


def test_redis_is_not_there_yet(station: Station, data_folder: Path) -> None:
    """A worker that starts before Redis does waits for it."""
    with Redis.start(data_folder) as redis:
        station = replace(station, redis_url=redis.url)
    run = station.record(station.engine.command())

    with station.worker():
        wait_for("the reconciler to notice", lambda: bool(station.told("reconciler_impeded")))
        with Redis.start(data_folder):
            completed(station.ended(run))


# -- repeated -------------------------------------------------------------------


def test_delivered_many_times_at_once(station: Station) -> None:
    """Delivered 20 times at once to two workers, and again afterwards, a command is claimed once and has one effect."""
    engine = station.engine
    station = replace(station, more=_ONLY_DELIVERED)
    command = engine.command()
    run = station.record(command)

    with station.workers(2) as pids:

        def delivered(result: str) -> float:
            return sum(station.metrics(pid)[result] for pid in pids)

        station.ring(command.command_id, times=20)
        done = completed(station.ended(run))
        wait_for("all to be delivered", lambda: delivered(_CLAIMED) + delivered(_NOTHING_TO_DO) == 20)
        after = engine.fingerprint()
        station.ring(command.command_id, times=5)
        wait_for("all to be delivered again", lambda: delivered(_NOTHING_TO_DO) == 24)
        wait_for("the queue to be empty", station.queue_is_empty)

        assert delivered(_CLAIMED) == 1
    assert engine.find(run) == done
    assert one_effect(engine, done) == 1
    assert engine.fingerprint() == after


# -- never a message ------------------------------------------------------------


def _body(command_id: object, **changes: Any) -> bytes:  # noqa: ANN401 - anything may stand in a field
    fields = {
        "queue_name": QUEUE,
        "actor_name": ACTOR,
        "args": [str(command_id)],
        "kwargs": {},
        "options": {"redis_message_id": str(uuid4())},
        "message_id": str(uuid4()),
        "message_timestamp": 1,
        **changes,
    }
    return json.dumps(fields).encode()


def _poison() -> list[bytes]:
    """Return bodies that are no doorbell messages, each different."""
    some = uuid4()
    args: list[object] = [[], ["x"], [7], [None], [[]], [{}], 7, None, [str(some)] * 2, ["%s"], "x"]
    actors: list[object] = ["shut_down", "", None, 7, ["carry_out"], {}]
    options: list[object] = [None, 7, "x", []]
    message_ids: list[object] = [None, 7, [], [str(some)], {}, "not an id", ""]
    nested = b"[" * 100_000 + b"]" * 100_000
    return [
        *(b"", b"\x00", b"not JSON", b"{", b"null", b"7", b"[]", b'"carry_out"', b"{}", nested, b"x" * (1 << 20)),
        *(b'{"actor_name": "\xff\xfe"}', b"\xef\xbb\xbf{}", b"1" * 5000, b'{"actor_name": NaN}'),
        *(_body(some, args=given) for given in args),
        *(_body(f"{some}; DROP TABLE box"), _body("../" * 12), _body(""), _body("\ud800" * 32)),
        *(_body(some, actor_name=name) for name in actors),
        *(_body(some, options=given) for given in options),
        *(_body(some, message_id=given) for given in message_ids),
    ]


def _harmless(command_id: UUID) -> list[bytes]:
    """Return messages that would do more than ring, if what they carry were not left behind."""
    other = json.loads(_body(uuid4()))
    options: list[dict[str, Any]] = [
        {"on_success": other},
        {"on_failure": other, "max_retries": 9, "retries": 3, "throws": 7},
        {"pipe_target": other, "pipe_ignore": True},
        {"eta": 1 << 60, "redis_message_id": ["a", "list"]},
    ]
    return [
        _body(command_id, unknown_field=1),
        _body(command_id, queue_name="elsewhere"),
        _body(command_id, kwargs={"engine": None}),
        *(_body(command_id, options=given) for given in options),
    ]


def _put(client: Client, station: Station, body: bytes, queue: str = QUEUE, message_id: bytes = b"") -> None:
    """Put a body where a worker fetches, as whoever reaches Redis can."""
    message_id = message_id or str(uuid4()).encode()
    client.hset(f"{station.namespace}:{queue}.msgs", message_id.decode("latin-1"), body)
    client.rpush(f"{station.namespace}:{queue}", message_id.decode("latin-1"))


def _parked(client: Client, station: Station) -> list[bytes]:
    return [body for body in client.lrange(f"{station.namespace}:poison", 0, -1) if isinstance(body, bytes)]


@pytest.mark.parametrize("queue", [QUEUE, f"{QUEUE}.DQ"])
def test_poison_between_good_messages(station: Station, queue: str) -> None:
    """Whatever lies in the {queue} queue, the good is carried out, the rest parked, counted and out of the way."""
    engine = station.engine
    station = replace(station, more=_ONLY_DELIVERED)
    poison = _poison()
    good = [engine.command(), *(engine.command(migration=f"unknown_{n}") for n in range(len(poison) // 8))]
    runs = [station.record(command) for command in good]

    with _client(station) as client:
        for place, body in enumerate(poison):
            _put(client, station, body, queue)
            if place % 8 == 7:
                _put(client, station, _body(good[place // 8].command_id), queue)
        _put(client, station, _body(good[-1].command_id), queue)
        with station.workers(1) as (pid,):
            ends = [station.ended(run) for run in runs]
            wait_for("the queue to be empty", station.queue_is_empty)
            parked, counted = _parked(client, station), station.metrics(pid)

    assert one_effect(engine, completed(ends[0])) == 1
    assert {(run.state, run.error and run.error.code) for run in ends[1:]} == {(State.REFUSED, "unknown_migration")}
    assert sorted(parked) == sorted(poison)
    assert counted[_POISON] == len(poison)
    assert counted[_CLAIMED] == len(good)
    _nothing_broke(station)


def _nothing_broke(station: Station) -> None:
    """See that no worker came upon anything that it did not expect."""
    lines = [json.loads(line) for line in station.log.read_bytes().splitlines()]
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []


def test_messages_that_carry_more_than_a_ring(station: Station) -> None:
    """Options that call other actors, unknown fields and arguments are left behind; the ring in them is heard."""
    engine = station.engine
    station = replace(station, more=_ONLY_DELIVERED)
    command = engine.command()
    run = station.record(command)
    bodies = _harmless(command.command_id)

    with _client(station) as client, station.workers(1) as (pid,):
        for body in bodies:
            _put(client, station, body)
        completed(station.ended(run))
        wait_for("the queue to be empty", station.queue_is_empty)
        counted = station.metrics(pid)

        assert _parked(client, station) == []
    assert (counted[_CLAIMED], counted[_NOTHING_TO_DO]) == (1, len(bodies) - 1)
    _nothing_broke(station)


def test_ids_that_lie(station: Station) -> None:
    """Under which id Redis keeps a message is taken from Redis: nothing is left behind for the next worker."""
    engine = station.engine
    station = replace(station, more=_ONLY_DELIVERED)
    command = engine.command()
    run = station.record(command)
    body = _body(command.command_id)

    with _client(station) as client:
        for message_id in (b"one", b"two", b"one", str(uuid4()).upper().encode(), b"%s {} ' \""):
            _put(client, station, body, message_id=message_id)
        # Ids without a body, and one that is not text.
        client.rpush(f"{station.namespace}:{QUEUE}", "gone", b"\xff\xfe")
        client.hset(f"{station.namespace}:{QUEUE}.msgs", b"\xff\xfe", _body(command.command_id))
        with station.worker():
            completed(station.ended(run))
            wait_for("the queue to be empty", station.queue_is_empty)

        assert len(_parked(client, station)) == 1
    _nothing_broke(station)


def test_flood_of_poison(station: Station) -> None:
    """A flood in front of a good message delays it by seconds, and only the newest bodies are kept."""
    station = replace(station, more=_ONLY_DELIVERED)
    command = station.engine.command()
    run = station.record(command)
    bodies = [b"poison %d" % n for n in range(MAX_PARKED + 200)]

    with _client(station) as client:
        for body in bodies:
            _put(client, station, body)
        station.ring(command.command_id)
        with station.worker():
            completed(station.ended(run))
            wait_for("the queue to be empty", station.queue_is_empty)

        assert _parked(client, station) == bodies[: -MAX_PARKED - 1 : -1]


# -- nobody reads the log -------------------------------------------------------


def test_stalled_reader_of_the_log(station: Station) -> None:
    """With a full pipe for standard error that nobody reads, a worker carries out its command and ends when told."""
    engine = station.engine
    command = engine.command()
    run = station.record(command)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)

    with _client(station) as client, open(writing, "wb") as pipe, open(reading, "rb"):  # noqa: PTH123 - descriptors
        for n in range(50):
            _put(client, station, b"poison %d" % n)
        with station.worker(stderr=pipe) as process:
            wait_for("the pipe to be full", lambda: _waiting(reading) > 3500)
            station.ring(command.command_id)
            done = completed(station.ended(run))

    assert one_effect(engine, done) == 1
    assert process.returncode == 0


def _waiting(fd: int) -> int:
    """Return how many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")
