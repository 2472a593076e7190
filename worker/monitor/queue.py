"""How full the queue is, read from Redis as dramatiq keeps it there.

Source: dramatiq/brokers/redis/dispatch.lua, which names the keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis

from ledger.doorbell import QUEUE
from worker.intake import POISON_KEY


@dataclass(frozen=True)
class Queue:
    """Messages by the place where they are."""

    ready: int
    delayed: int
    unacked: int
    dead: int
    poison: int
    #: When the message that waits for longest was sent; None if none waits, or it does not say.
    oldest: datetime | None


def look(client: Redis, namespace: str) -> Queue:
    """Count the messages.

    Raises:
        redis.exceptions.RedisError: It does not answer.
    """
    name = f"{namespace}:{QUEUE}"
    workers: list[bytes] = client.zrange(f"{namespace}:__heartbeats__", 0, -1)  # type: ignore[assignment]  # without scores
    asked = client.pipeline(transaction=False)
    asked.llen(name)
    asked.llen(f"{name}.DQ")
    asked.zcard(f"{name}.XQ")
    asked.llen(f"{namespace}:{POISON_KEY}")
    asked.lindex(name, 0)
    for worker in workers:
        asked.scard(f"{namespace}:__acks__.{worker.decode(errors='replace')}.{QUEUE}")
    ready, delayed, dead, poison, first, *held = asked.execute()
    return Queue(ready, delayed, sum(held), dead, poison, _sent(client, name, first))


def _sent(client: Redis, name: str, message_id: bytes | None) -> datetime | None:
    try:
        body = None if message_id is None else client.hget(f"{name}.msgs", message_id.decode())
        return None if body is None else datetime.fromtimestamp(json.loads(body)["message_timestamp"] / 1000, UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        # Anybody may have put anything there.
        return None
