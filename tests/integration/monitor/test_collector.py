"""What a monitor shows to Prometheus: all of it, whatever becomes of a part."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry, Metric
from redis import Redis
from sqlalchemy import Engine

from ledger import workers
from ledger.database import open_ledger
from ledger.doorbell import open_doorbell, ring
from ledger.model import Kind, State
from ledger.settings import TargetSettings
from tests.endings import begin, settle
from tests.faults.conftest import PLAN, SCHEMA
from tests.harness import TARGET, completed
from tests.harness import Engine as Target
from worker.monitor import queue
from worker.monitor.chain import Chain
from worker.monitor.collector import House
from worker.monitor.quarantines import Quarantines

#: Name and labels of everything that is shown when there is something of everything.
EXPECTED: dict[str, set[str]] = {
    "stepback_commands": {"kind", "state"},
    "stepback_oldest_timestamp_seconds": {"state"},
    "stepback_oldest_progress_timestamp_seconds": {"target", "phase"},
    "stepback_incidents_open": {"target", "incident"},
    "stepback_leases_lost": set(),
    "stepback_workers_alive": set(),
    "stepback_queue_messages": {"place"},
    "stepback_queue_oldest_timestamp_seconds": set(),
    "stepback_target_up": {"target"},
    "stepback_quarantine_objects": {"target"},
    "stepback_quarantine_bytes": {"target"},
    "stepback_quarantine_damaged_objects": {"target"},
    "stepback_quarantine_next_expiry_timestamp_seconds": {"target"},
    "stepback_audit_events_recorded": set(),
    "stepback_audit_chain_ok": set(),
    "stepback_audit_verified_timestamp_seconds": set(),
    "stepback_audit_writable": set(),
    "stepback_canary_success_timestamp_seconds": set(),
    "stepback_collector_up": {"part"},
    "stepback_collector_duration_seconds": {"part"},
    "stepback_collector_errors_total": {"part"},
    "stepback_build_info": {"version", "python"},
}
#: What is absent where there is nothing to tell the time of.
MOMENTS = {
    "stepback_oldest_timestamp_seconds",
    "stepback_oldest_progress_timestamp_seconds",
    "stepback_queue_oldest_timestamp_seconds",
    "stepback_quarantine_next_expiry_timestamp_seconds",
    "stepback_canary_success_timestamp_seconds",
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _scrape(house: House) -> Samples:
    registry = CollectorRegistry()
    registry.register(house)
    families: list[Metric] = list(registry.collect())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"stepback_{name}", frozenset(labels.items())]


def _names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


@pytest.fixture
def redis(redis_url: str, redis_namespace: str) -> Iterator[Redis]:
    """Give a client as the monitor has it; keep to `redis_namespace`."""
    client: Redis = open_doorbell(redis_url, namespace=redis_namespace).client
    yield client
    client.close()


MakeHouse = Callable[..., House]


@pytest.fixture
def make_house(ledger_engine: Engine, redis: Redis, redis_namespace: str) -> MakeHouse:
    """Give a function that makes a house that was looked at once."""

    def make(targets: dict[str, TargetSettings] | None = None, **other: Any) -> House:  # noqa: ANN401 - whatever is other
        ledger = other.get("ledger", ledger_engine)
        counted = partial(queue.look, other.get("redis", redis), redis_namespace)
        chain = Chain(ledger_engine, 3600)
        chain.round()
        house = House(ledger, counted, chain, Quarantines(targets or {}, timedelta(days=7)), "1.2.3")
        house.look_at_targets()
        return house

    return make


def _target(engine: Target, **settings: Any) -> dict[str, TargetSettings]:  # noqa: ANN401 - any setting of a target
    url: Any = engine.url
    return {TARGET: TargetSettings(url=url, **settings)}


def test_everything_is_shown(
    make_house: MakeHouse, engine: Target, redis_url: str, redis_namespace: str, ledger_engine: Engine
) -> None:
    """Every metric by its name, with its labels, and nothing else."""
    engine.owner(SCHEMA)
    engine.plan(PLAN)
    completed(engine.rollback())
    settle(ledger_engine, begin(ledger_engine, kind=Kind.CANARY, target="canary", migration=None), State.COMPLETED)
    begin(ledger_engine)
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    ring(broker, uuid4())
    broker.client.close()

    samples = _scrape(make_house(_target(engine, retention="30d")))

    shown: dict[str, set[str]] = {}
    for name, labels in samples:
        shown[name] = {label for label, _ in labels}
    assert {name: labels for name, labels in shown.items() if not name.endswith("_created")} == EXPECTED


def test_what_there_is_nothing_of_is_0_or_absent(make_house: MakeHouse, engine: Target) -> None:
    """Counts are there at 0 for every label set, and moments are not there at all."""
    samples = _scrape(make_house(_target(engine)))

    assert EXPECTED.keys() - _names(samples) == MOMENTS
    commands = {labels: value for (name, labels), value in samples.items() if name == "stepback_commands"}
    assert len(commands) == len(Kind) * len(State)
    assert set(commands.values()) == {0}
    for incident in ("failed", "needs_operator", "validation_failed"):
        assert _value(samples, "incidents_open", target=TARGET, incident=incident) == 0
    assert _value(samples, "build_info", version="1.2.3", python=platform.python_version()) == 1


def test_the_state_of_the_house_is_shown(make_house: MakeHouse, ledger_engine: Engine) -> None:
    """Runs and incidents by where they stand, the oldest, lost leases, living workers, the newest event."""
    failed = settle(ledger_engine, begin(ledger_engine), State.FAILED)
    lost = begin(ledger_engine, lease_seconds=0)
    begin(ledger_engine)
    workers.beat(ledger_engine, "w1", 60)

    samples = _scrape(make_house())

    assert failed == 1
    assert _value(samples, "commands", kind="rollback", state="failed") == 1
    assert _value(samples, "commands", kind="rollback", state="in_progress") == 2
    assert _value(samples, "incidents_open", target="shop", incident="failed") == 1
    assert _value(samples, "leases_lost") == 1
    assert _value(samples, "workers_alive") == 1
    assert _value(samples, "audit_events_recorded") == 7
    oldest = _value(samples, "oldest_timestamp_seconds", state="in_progress")
    assert oldest == lost.claimed_first_at.timestamp()
    assert _value(samples, "oldest_progress_timestamp_seconds", target="shop", phase="preflight") >= oldest
    assert (_value(samples, "audit_chain_ok"), _value(samples, "audit_writable")) == (1, 1)


def test_messages_are_counted_where_they_are(
    make_house: MakeHouse, redis: Redis, redis_url: str, redis_namespace: str
) -> None:
    """Ready, delayed, held by a worker, dead, or parked as poison; and since when the oldest waits."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    broker.declare_queue("commands")
    for _ in range(3):
        ring(broker, uuid4())
    held = next(iter(broker.consume("commands", prefetch=1, timeout=10)))
    redis.rpush(f"{redis_namespace}:commands.DQ", "a")
    redis.zadd(f"{redis_namespace}:commands.XQ", {"a": 1, "b": 2})
    redis.rpush(f"{redis_namespace}:poison", *"abcd")

    samples = _scrape(make_house())

    broker.client.close()
    assert held is not None
    places = {place: _value(samples, "queue_messages", place=place) for place in ("ready", "delayed", "unacked")}
    assert places == {"ready": 2, "delayed": 1, "unacked": 1}
    assert _value(samples, "queue_messages", place="dead") == 2
    assert _value(samples, "queue_messages", place="poison") == 4
    assert abs(_value(samples, "queue_oldest_timestamp_seconds") - datetime.now(UTC).timestamp()) < 60


def test_a_ledger_that_is_away_hides_nothing_else(make_house: MakeHouse, engine: Target) -> None:
    """And its part is down, with an error counted at each look."""
    away = open_ledger("postgresql://stepback_app@/x?host=/nonexistent")
    house = make_house(_target(engine), ledger=away)
    _scrape(house)

    samples = _scrape(house)

    assert [_value(samples, "collector_up", part=part) for part in ("ledger", "queue", "targets")] == [0, 1, 1]
    assert _value(samples, "collector_errors_total", part="ledger") == 2
    assert {"stepback_queue_messages", "stepback_target_up", "stepback_audit_chain_ok"} <= _names(samples)
    assert "stepback_commands" not in _names(samples)


def test_a_redis_that_is_away_hides_nothing_else(make_house: MakeHouse, engine: Target) -> None:
    """Its messages are not shown as 0."""
    nowhere: Redis = open_doorbell("redis://127.0.0.1:1", namespace="x").client
    samples = _scrape(make_house(_target(engine), redis=nowhere))
    nowhere.close()

    assert [_value(samples, "collector_up", part=part) for part in ("ledger", "queue", "targets")] == [1, 0, 1]
    assert _value(samples, "collector_errors_total", part="queue") == 1
    assert {"stepback_commands", "stepback_target_up"} <= _names(samples)
    assert "stepback_queue_messages" not in _names(samples)


def test_a_target_that_is_away_hides_nothing_else(make_house: MakeHouse, engine: Target) -> None:
    """Nor the other target; what was never seen of it is not shown as 0."""
    url: Any = "postgresql://nobody@/nowhere?host=/nonexistent"
    samples = _scrape(make_house({"away": TargetSettings(url=url), **_target(engine)}))

    assert [_value(samples, "collector_up", part=part) for part in ("ledger", "queue", "targets")] == [1, 1, 0]
    assert _value(samples, "collector_errors_total", part="targets") == 1
    assert (_value(samples, "target_up", target="away"), _value(samples, "target_up", target=TARGET)) == (0, 1)
    with_objects = {labels for name, labels in samples if name == "stepback_quarantine_objects"}
    assert with_objects == {frozenset({("target", TARGET)})}


def _message(body: str | bytes) -> Callable[[Redis, str], object]:
    def put(redis: Redis, namespace: str) -> None:
        redis.rpush(f"{namespace}:commands", "a")
        redis.hset(f"{namespace}:commands.msgs", "a", body)

    return put


LITTER: dict[str, Callable[[Redis, str], object]] = {
    "a string for a list": lambda redis, name: redis.set(f"{name}:commands", "a string"),
    "a worker that is no text": lambda redis, name: redis.zadd(f"{name}:__heartbeats__", {b"\xff": 1}),
    "an id that is no text": lambda redis, name: redis.rpush(f"{name}:commands", b"\xff"),
    "a time that is none": _message('{"message_timestamp": 1e300}'),
    "an endless list": _message("[" * 100_000),
    "a list": _message("[1]"),
    "no text": _message(b"\xff"),
}


@pytest.mark.parametrize("litter", LITTER.values(), ids=LITTER)
def test_whatever_lies_in_redis_hides_nothing_else(
    make_house: MakeHouse, redis: Redis, redis_namespace: str, litter: Callable[[Redis, str], object]
) -> None:
    """Anybody may have put anything there."""
    litter(redis, redis_namespace)

    samples = _scrape(make_house())

    readable = litter is not LITTER["a string for a list"]
    assert (_value(samples, "collector_up", part="ledger"), _value(samples, "collector_up", part="queue")) == (
        1,
        readable,
    )
    assert "stepback_queue_oldest_timestamp_seconds" not in _names(samples)
