"""The doorbell: one message with one id in it, or a clear word that nobody heard."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import dramatiq
import pytest
import redis
from dramatiq.middleware import Retries

from ledger.doorbell import ACTOR, QUEUE, open_doorbell, ring
from ledger.errors import BadConfiguration, QueueUnreachable
from stepback.embedded.redis_server import binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = UUID("12345678-1234-4234-8234-123456789012")


def _messages(url: str, namespace: str) -> list[dict[str, object]]:
    with redis.Redis.from_url(url) as client:
        return [json.loads(body) for body in client.hvals(f"{namespace}:{QUEUE}.msgs")]


class _Server:
    """A Redis of one's own, to be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/redis.socket"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [
            "--port",
            "0",
            "--unixsocket",
            f"{self.folder}/redis.socket",
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self.process = subprocess.Popen([binary(), *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.05)
                else:
                    return
        raise TimeoutError

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it by a signal."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Server]:
    """Give a running Redis that nobody else uses."""
    server = _Server(tmp_path_factory.mktemp("r"))
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def test_a_ring_carries_the_id_and_nothing_else(redis_url: str, redis_namespace: str) -> None:
    """No arguments by name, no options but dramatiq's own number for the message."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)

    ring(broker, COMMAND)

    broker.close()
    (message,) = _messages(redis_url, redis_namespace)
    assert (message["queue_name"], message["actor_name"]) == ("commands", "carry_out")
    assert (message["args"], message["kwargs"]) == ([str(COMMAND)], {})
    assert isinstance(message["options"], dict)
    assert set(message["options"]) == {"redis_message_id"}


def test_a_worker_hears_every_one_of_many_rings(redis_url: str, redis_namespace: str) -> None:
    """What goes to Redis in one exchange is as many messages, in the order of the ids, each acknowledged by itself."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    heard: list[str] = []

    @dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE, broker=broker)
    def carry_out(command_id: str) -> None:
        heard.append(command_id)

    ids = [uuid4() for _ in range(100)]
    ring(broker, *ids)
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    broker.join(carry_out.queue_name, interval=10, timeout=20_000)
    worker.stop()

    assert heard == [str(command_id) for command_id in ids]
    assert _messages(redis_url, redis_namespace) == []
    broker.close()


def test_many_rings_are_messages_like_one(redis_url: str, redis_namespace: str) -> None:
    """A number each of dramatiq's own, and nothing else; no id, no message."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    ids = [uuid4() for _ in range(3)]

    ring(broker)
    ring(broker, *ids)

    broker.close()
    messages = _messages(redis_url, redis_namespace)
    assert {str(message["args"]) for message in messages} == {str([str(command_id)]) for command_id in ids}
    assert len(messages) == len(ids)
    options = [message["options"] for message in messages]
    assert all(isinstance(each, dict) and set(each) == {"redis_message_id"} for each in options)


def test_installations_do_not_hear_each_other(redis_url: str, redis_namespace: str) -> None:
    """Every key begins with the namespace."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)

    ring(broker, uuid4())

    broker.close()
    assert _messages(redis_url, f"{redis_namespace}-other") == []
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(f"{redis_namespace}:{QUEUE}") == 1


def test_the_worker_s_own_middleware_is_all_there_is(redis_url: str, redis_namespace: str) -> None:
    """No time limits, no callbacks, no results: only what keeps a failure from counting as done."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)

    assert [(type(middleware), vars(middleware)["max_retries"]) for middleware in broker.middleware] == [(Retries, 0)]
    assert broker.maintenance_chance == 0
    broker.close()


def test_a_redis_that_is_not_there_is_told_so() -> None:
    """At once, and without its URL."""
    broker = open_doorbell("redis://:hunter2@127.0.0.1:1/0", namespace="n")

    with pytest.raises(QueueUnreachable) as error:
        ring(broker, COMMAND)
    with pytest.raises(QueueUnreachable) as error_of_many:
        ring(broker, COMMAND, uuid4())

    broker.close()
    assert "hunter2" not in f"{error.value} {error_of_many.value}"


def test_a_redis_that_does_not_answer_is_given_up_on_soon() -> None:
    """Whoever submits waits seconds, not for ever, and the message is sent once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = open_doorbell(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", namespace="n")
        began = time.monotonic()

        with pytest.raises(QueueUnreachable):
            ring(broker, COMMAND)

        waited = time.monotonic() - began
        broker.close()
    assert waited < 6


def test_a_redis_that_came_back_hears_the_next_ring(own_redis: _Server) -> None:
    """The connection from before is not held against it."""
    broker = open_doorbell(own_redis.url, namespace="n")
    ring(broker, uuid4())
    own_redis.stop()
    with pytest.raises(QueueUnreachable):
        ring(broker, uuid4())
    own_redis.start()

    ring(broker, COMMAND)

    broker.close()
    assert [message["args"] for message in _messages(own_redis.url, "n")] == [[str(COMMAND)]]


def test_a_restart_between_two_rings_goes_unnoticed(own_redis: _Server) -> None:
    """Though the old connection is still in the pool."""
    broker = open_doorbell(own_redis.url, namespace="n")
    ring(broker, uuid4())
    own_redis.stop(signal.SIGKILL)
    own_redis.start()

    ring(broker, COMMAND)

    broker.close()
    assert [message["args"] for message in _messages(own_redis.url, "n")] == [[str(COMMAND)]]


def test_a_redis_that_forgot_its_scripts_hears_many_rings(own_redis: _Server) -> None:
    """As after a restart: they are given to it anew."""
    broker = open_doorbell(own_redis.url, namespace="n")
    ring(broker, uuid4(), uuid4())
    own_redis.stop(signal.SIGKILL)
    own_redis.start()

    ring(broker, COMMAND, COMMAND)

    broker.close()
    assert [message["args"] for message in _messages(own_redis.url, "n")] == [[str(COMMAND)]] * 2


@pytest.mark.parametrize("url", ["", "hunter2", "http://:hunter2@h/0", "redis://:hunter2@h:port/0"])
def test_a_bad_url_is_refused_without_repeating_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(BadConfiguration) as refusal:
        open_doorbell(url, namespace="n")

    assert "hunter2" not in str(refusal.value)
