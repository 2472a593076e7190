"""What comes out of Redis, made harmless: anything may have been put there, only doorbell messages go on.

A body that does not decode would stop dramatiq's consumer and strand whatever was fetched with it; options in a
message could call other actors. So every body is read here first: a doorbell message is rebuilt from the one thing
that it may carry, a command id; everything else is parked, counted and acknowledged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - Redis's, not Python's

from ledger.doorbell import ACTOR
from worker import metrics

#: Where parked bodies go, under the namespace; the newest are kept for a person to look at.
POISON_KEY: Final = "poison"
MAX_PARKED: Final = 1000

#: How often one poll fetches while it finds nothing but poison: an empty one is followed by a pause.
_ROUNDS: Final = 100
#: Redis does not answer. dramatiq would try to acknowledge for as long as that lasts, and not end when told.
_AWAY: Final = (ConnectionError, TimeoutError)

log = structlog.get_logger(__name__)


class Intake(RedisBroker):
    """dramatiq's Redis broker, with every fetched body read before the consumer sees it."""

    def do_fetch(self, queue_name: str, *arguments: Any) -> list[bytes]:  # noqa: ANN401 - dramatiq's own, passed on
        """Fetch bodies and return those that are doorbell messages, rebuilt."""
        for _ in range(_ROUNDS):
            fetched: list[bytes | None] = self._dispatch("fetch")(queue_name, *arguments)  # type: ignore[no-untyped-call]  # dramatiq leaves it so
            held = self._held(queue_name) if fetched else {}
            read = [self._read(queue_name, body, held.get(body, [])) for body in dict.fromkeys(fetched)]
            messages = [message for message in read if message is not None]
            if messages or not fetched:
                return messages
        return []

    def do_ack(self, queue_name: str, message_id: bytes | str) -> None:
        """Acknowledge; if Redis does not hear it, the message comes again one day and finds nothing to do."""
        with suppress(*_AWAY):
            self._dispatch("ack")(queue_name, message_id)  # type: ignore[no-untyped-call]  # as above

    def do_requeue(self, queue_name: str, *message_ids: str) -> None:
        """Give back what was fetched; if Redis does not hear it, the reconciler rings."""
        with suppress(*_AWAY):
            self._dispatch("requeue")(queue_name, *message_ids)  # type: ignore[no-untyped-call]  # as above

    def _held(self, queue_name: str) -> dict[bytes | None, list[bytes]]:
        """Return under which ids Redis holds what we fetched: what a body says of itself may be a lie."""
        held: dict[bytes | None, list[bytes]] = {}
        message_ids = [*self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")]
        kept = self.client.hmget(f"{self.namespace}:{queue_name}.msgs", message_ids) if message_ids else []
        for message_id, body in zip(message_ids, kept, strict=True):
            held.setdefault(body, []).append(message_id)
        return held

    def _read(self, queue_name: str, body: bytes | None, message_ids: list[bytes]) -> bytes | None:
        """Return the message that goes on, if any; what does not, or is there twice, is acknowledged here."""
        if not message_ids:
            # Given to another worker in the meantime: ours was taken for dead.
            return None
        message = None if body is None else rebuild(queue_name, body, message_ids[0])
        if message is None and body is not None:
            self._park(queue_name, body)
        for message_id in message_ids if message is None else message_ids[1:]:
            self.do_ack(queue_name, message_id)
        return message

    def _park(self, queue_name: str, body: bytes) -> None:
        metrics.DELIVERIES.labels("poison").inc()
        # Its content is anybody's: the log says that it came, the list keeps it.
        log.warning("message_parked", queue=queue_name, bytes=len(body))
        key = f"{self.namespace}:{POISON_KEY}"
        self.client.lpush(key, body)
        self.client.ltrim(key, 0, MAX_PARKED - 1)


def rebuild(queue_name: str, body: bytes, message_id: bytes) -> bytes | None:
    """Return a doorbell message with nothing in it but what it may carry; None if it is not one.

    Args:
        queue_name: Where it was found, which is where it will be acknowledged.
        body: As fetched.
        message_id: Under which Redis keeps it.
    """
    try:
        fields = json.loads(body)
        if fields["actor_name"] != ACTOR or not isinstance(fields["options"], dict):
            return None
        (command_id,) = fields["args"]
        message: Message[None] = Message(
            queue_name=queue_name,
            actor_name=ACTOR,
            args=(str(UUID(command_id)),),
            kwargs={},
            options={"redis_message_id": message_id.decode()},
            message_id=str(UUID(fields["message_id"])),
        )
        return message.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
