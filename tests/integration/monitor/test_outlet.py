"""Run events on their way to whoever listens: as CloudEvents, at once, and in nobody's way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.model import AuditEvent, State
from ledger.outlet import Outlet, cloud_event
from tests.endings import begin, settle
from tests.faults.processes import wait_for
from worker.monitor.listener import Listener

_INSTALLATION = UUID(int=7)


@pytest.fixture
def redis(redis_url: str, redis_namespace: str) -> Iterator[Redis]:
    """Give a client as worker and monitor have it; keep to `redis_namespace`."""
    client: Redis = open_doorbell(redis_url, namespace=redis_namespace).client
    yield client
    client.close()


@pytest.fixture
def events(ledger_engine: Engine) -> list[AuditEvent]:
    """Give what a worker has told of a completed run: that it was claimed, and that it has ended."""
    settle(ledger_engine, begin(ledger_engine), State.COMPLETED)
    with transaction(ledger_engine) as conn:
        _submitted, *told = audit.read(conn)
    return told


class Heard:
    """Counts what a listener heard."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Hear once more."""
        self.count += 1


@pytest.fixture
def heard(redis: Redis, redis_namespace: str) -> Iterator[Heard]:
    """Give what a running listener heard."""
    found = Heard()
    listener = Listener(redis, redis_namespace, found)
    listener.start()
    # It begins with what comes from now on.
    time.sleep(0.3)
    yield found
    listener.stop()


def _stream(redis: Redis, namespace: str) -> list[dict[str, Any]]:
    entries: Any = redis.xrange(f"{namespace}:events")
    return [json.loads(fields[b"cloudevent"]) for _, fields in entries]


def test_an_audit_event_goes_out_as_a_cloud_event(redis: Redis, redis_namespace: str, events: list[AuditEvent]) -> None:
    """With every required attribute of CloudEvents 1.0, and all that the audit log has as its data."""
    outlet = Outlet(redis, redis_namespace, _INSTALLATION)
    outlet.start()

    for event in events:
        outlet.put(event)
    outlet.stop()

    claimed, ended = _stream(redis, redis_namespace)
    data = claimed.pop("data")
    assert claimed == {
        "specversion": "1.0",
        "id": str(events[0].event_id),
        "source": f"/stepback/{_INSTALLATION}",
        "type": "stepback.run_claimed",
        "subject": "runs/1",
        "time": events[0].occurred_at,
        "datacontenttype": "application/json",
    }
    assert datetime.fromisoformat(claimed["time"]).tzinfo == UTC
    assert (data["seq"], data["actor"], data["target"], data["hash"]) == (2, "worker:w1", "shop", events[0].hash)
    assert data["detail"] == events[0].detail
    assert (ended["type"], ended["data"]["outcome"]) == ("stepback.run_completed", "completed")


def test_an_event_about_no_run_has_no_subject(events: list[AuditEvent]) -> None:
    """An attribute without a value is left out."""
    told = cloud_event(replace(events[0], run=None), _INSTALLATION)

    assert "subject" not in told


def test_the_stream_does_not_grow_for_ever(redis: Redis, redis_namespace: str, events: list[AuditEvent]) -> None:
    """The oldest events go when there are more than ten thousand or so."""
    stream = f"{redis_namespace}:events"
    filling = redis.pipeline(transaction=False)
    for _ in range(10_500):
        filling.xadd(stream, {"cloudevent": "{}"})
    filling.execute()
    outlet = Outlet(redis, redis_namespace, _INSTALLATION)
    outlet.start()

    outlet.put(events[0])
    outlet.stop()

    assert redis.xlen(stream) <= 10_200


def test_without_redis_nobody_waits(events: list[AuditEvent]) -> None:
    """Neither whoever puts events in, more than may wait, nor whoever stops it."""
    nowhere: Redis = open_doorbell("redis://127.0.0.1:1", namespace="x").client
    outlet = Outlet(nowhere, "x", _INSTALLATION)
    outlet.start()
    began = time.monotonic()

    for _ in range(3000):
        outlet.put(events[0])
    put = time.monotonic() - began
    outlet.stop()
    nowhere.close()

    assert put < 1
    assert time.monotonic() - began < 11


def test_what_redis_refuses_stops_nothing(redis: Redis, redis_namespace: str, events: list[AuditEvent]) -> None:
    """Once the stream can be written to again, it is."""
    redis.set(f"{redis_namespace}:events", "in the way")
    outlet = Outlet(redis, redis_namespace, _INSTALLATION)
    outlet.start()
    outlet.put(events[0])
    time.sleep(0.2)
    redis.delete(f"{redis_namespace}:events")

    outlet.put(events[1])
    outlet.stop()

    assert [event["type"] for event in _stream(redis, redis_namespace)] == ["stepback.run_completed"]


def test_a_run_event_is_heard_at_once(
    redis: Redis, redis_namespace: str, events: list[AuditEvent], heard: Heard
) -> None:
    """From an outlet to a listener in well under a second."""
    outlet = Outlet(redis, redis_namespace, _INSTALLATION)
    outlet.start()
    began = time.monotonic()

    outlet.put(events[1])
    wait_for("the event to be heard", lambda: heard.count == 1)
    took = time.monotonic() - began
    outlet.stop()

    assert took < 1


def test_what_happened_before_is_not_heard(redis: Redis, redis_namespace: str) -> None:
    """It is in the ledger, which is looked through anyway; what comes next is."""
    stream = f"{redis_namespace}:events"
    redis.xadd(stream, {"cloudevent": '{"type": "stepback.run_failed"}'})
    heard = Heard()
    listener = Listener(redis, redis_namespace, heard)
    listener.start()
    time.sleep(0.3)
    before = heard.count

    redis.xadd(stream, {"cloudevent": '{"type": "stepback.run_failed"}'})
    wait_for("the second to be heard", lambda: heard.count == 1)
    listener.stop()

    assert before == 0


def test_nothing_is_skipped_between_two_reads(redis: Redis, redis_namespace: str, heard: Heard) -> None:
    """Events that come while it is busy with others, or right after it waited in vain."""
    for pause in (0.0, 0.0, 0.95, 0.05, 1.0, 0.02):
        time.sleep(pause)
        redis.xadd(f"{redis_namespace}:events", {"cloudevent": '{"type": "stepback.run_failed"}'})

    wait_for("all of them to be heard", lambda: heard.count == 6, seconds=5)


def test_garbage_on_the_stream_stops_nothing(redis: Redis, redis_namespace: str, heard: Heard) -> None:
    """Anybody may have put anything there; the next run event is heard, and only that."""
    stream = f"{redis_namespace}:events"
    bodies = [b"", b"\xff", b"[]", b"7", b"null", b"{}", b'{"type": 7}', b"[" * 100_000]
    bodies.append(b'{"type": "stepback.step_failed"}')
    for body in bodies:
        redis.xadd(stream, {"cloudevent": body})
    redis.xadd(stream, {"other": "field"})

    redis.xadd(stream, {"cloudevent": '{"type": "stepback.run_failed"}'})

    wait_for("the run event to be heard", lambda: heard.count > 0, seconds=5)
    assert heard.count == 1


def test_a_stream_that_is_none_is_waited_for(redis: Redis, redis_namespace: str, heard: Heard) -> None:
    """Something else under its name, then gone: what comes then is heard."""
    stream = f"{redis_namespace}:events"
    redis.set(stream, "in the way")
    time.sleep(1.5)
    redis.delete(stream)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.1):
            redis.xadd(stream, {"cloudevent": '{"type": "stepback.run_failed"}'})

    writing = threading.Thread(target=go_on)
    writing.start()
    try:
        wait_for("an event to be heard", lambda: heard.count > 0, seconds=10)
    finally:
        stop.set()
        writing.join()


def test_a_listener_without_redis_ends_when_told(redis_namespace: str) -> None:
    """And does nothing but try until then."""
    nowhere: Redis = open_doorbell("redis://127.0.0.1:1", namespace=redis_namespace).client
    listener = Listener(nowhere, redis_namespace, Heard())
    listener.start()
    time.sleep(0.2)
    began = time.monotonic()

    listener.stop()
    nowhere.close()

    assert time.monotonic() - began < 3
