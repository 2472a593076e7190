"""What comes out of Redis, made harmless: anything may have been put there, only doorbell messages go on.

A body that does not decode would stop dramatiq's consumer and strand whatever was fetched with it; options in a
message could call other actors. So every body is read here first: a doorbell message is rebuilt from the one thing
that it may carry, a command id; everything else is parked, counted and acknowledged.
"""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from ledger.doorbell import ACTOR
from worker import metrics

#: Where parked bodies go, under the namespace; the newest are kept for a person to look at.
POISON_KEY: Final = "poison"
MAX_PARKED: Final = 1000

log = structlog.get_logger(__name__)


class Intake(RedisBroker):
    """dramatiq's Redis broker, with every fetched body read before the consumer sees it."""

    def do_fetch(self, queue_name: str, *arguments: Any) -> list[bytes]:  # noqa: ANN401 - dramatiq's own, passed on
        """Fetch bodies and return those that are doorbell messages, rebuilt."""
        fetched: list[bytes | None] = self._dispatch("fetch")(queue_name, *arguments)  # type: ignore[no-untyped-call]  # dramatiq leaves it so
        bodies = []
        for body in fetched:
            if body is None:
                continue
            rebuilt = rebuild(queue_name, body)
            if rebuilt is None:
                self._park(queue_name, body)
            else:
                bodies.append(rebuilt)
        return bodies

    def _park(self, queue_name: str, body: bytes) -> None:
        metrics.DELIVERIES.labels("poison").inc()
        # Its content is anybody's: the log says that it came, the list keeps it.
        log.warning("message_parked", queue=queue_name, bytes=len(body))
        key = f"{self.namespace}:{POISON_KEY}"
        self.client.lpush(key, body)
        self.client.ltrim(key, 0, MAX_PARKED - 1)
        for message_id in self._ids_of(queue_name, body):
            self.do_ack(queue_name, message_id)

    def _ids_of(self, queue_name: str, body: bytes) -> list[bytes]:
        """Find under which ids Redis keeps a body: what the body itself says may be a lie."""
        fetched = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
        kept = self.client.hscan_iter(f"{self.namespace}:{queue_name}.msgs")
        return [message_id for message_id, stored in kept if stored == body and message_id in fetched]


def rebuild(queue_name: str, body: bytes) -> bytes | None:
    """Return a doorbell message with nothing in it but what it may carry; None if it is not one.

    Args:
        queue_name: Where it was found, which is where it will be acknowledged.
        body: As fetched.
    """
    try:
        fields = json.loads(body)
        if fields["actor_name"] != ACTOR:
            return None
        (command_id,) = fields["args"]
        message: Message[None] = Message(
            queue_name=queue_name.removesuffix(".DQ"),
            actor_name=ACTOR,
            args=(str(UUID(command_id)),),
            kwargs={},
            options={"redis_message_id": str(UUID(fields["options"]["redis_message_id"]))},
            message_id=str(UUID(fields["message_id"])),
        )
        return message.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
