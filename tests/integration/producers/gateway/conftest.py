"""A gateway for each test, on a ledger and a Redis namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from ledger.doorbell import open_doorbell
from tests.integration.producers.gateway.serving import Site, serving


@pytest.fixture
def broker(redis_url: str, redis_namespace: str) -> Iterator[RedisBroker]:
    """Give a doorbell of one's own."""
    broker = open_doorbell(redis_url, namespace=redis_namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def site(ledger_engine: Engine, broker: RedisBroker) -> Iterator[Site]:
    """Give a gateway that serves."""
    with serving(ledger_engine, broker) as made:
        yield made
