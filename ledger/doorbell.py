"""The doorbell: a message on Redis that carries a command's id and nothing else. Redis may lose it or repeat it."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, overload

from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ledger.errors import BadConfiguration, QueueUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

Bell = TypeVar("Bell", bound=RedisBroker)

#: The queue that workers listen to, and the actor that answers.
QUEUE: Final = "commands"
ACTOR: Final = "carry_out"

#: Seconds until a silent Redis counts as gone.
_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 4.0


@overload
def open_doorbell(
    url: str, *, namespace: str, maintenance_chance: int = 0, heartbeat_timeout_ms: int = 60_000
) -> RedisBroker: ...
@overload
def open_doorbell(
    url: str,
    *,
    namespace: str,
    maintenance_chance: int = 0,
    heartbeat_timeout_ms: int = 60_000,
    broker_class: type[Bell],
) -> Bell: ...
def open_doorbell(
    url: str,
    *,
    namespace: str,
    maintenance_chance: int = 0,
    heartbeat_timeout_ms: int = 60_000,
    broker_class: type[RedisBroker] = RedisBroker,
) -> RedisBroker:
    """Return a broker for the doorbell; nothing is connected yet.

    Args:
        url: `redis://`, `rediss://` or `unix://`. It never goes into a message.
        namespace: Prefix of every key.
        maintenance_chance: How many polls in a million also look for messages of dead workers. 0 for everybody but
            workers: who looks with a skewed clock steals messages that are being carried out.
        heartbeat_timeout_ms: When a silent worker counts as dead; matters where maintenance is on.
        broker_class: What a worker puts in place of dramatiq's own.

    Raises:
        BadConfiguration: The text is not such a URL.
    """
    try:
        client = Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            # A repeated call whose first answer was lost would ring twice: whoever rings decides.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=10,
        )
    except ValueError:
        raise BadConfiguration("the Redis URL cannot be read: write redis://host:port/number") from None
    return broker_class(
        client=client,
        namespace=namespace,
        # Without Retries a failure would count as done; with 0 of them the ledger decides what is tried again.
        middleware=[Retries(max_retries=0)],
        maintenance_chance=maintenance_chance,
        heartbeat_timeout=heartbeat_timeout_ms,
    )


def ring(broker: RedisBroker, *command_ids: UUID) -> None:
    """Ring for commands, once each, in order; for many in one exchange with Redis.

    Raises:
        QueueUnreachable: Redis did not answer; it may have heard all the same, or some of it.
    """
    messages: list[Message[None]] = [
        Message(queue_name=QUEUE, actor_name=ACTOR, args=(str(command_id),), kwargs={}, options={})
        for command_id in command_ids
    ]
    try:
        if len(messages) == 1:
            broker.enqueue(messages[0])
        elif messages:
            _enqueue_together(broker, messages)
    except (RedisError, OSError) as error:
        raise QueueUnreachable(
            f"Redis does not answer ({type(error).__name__}); what is in the ledger will be carried out when it is back"
        ) from error


def _enqueue_together(broker: RedisBroker, messages: Sequence[Message[None]]) -> None:
    with broker.client.pipeline(transaction=False) as pipe:
        # dramatiq's own enqueue, whose one script is put into the pipeline instead of being waited for.
        piped = copy.copy(broker)
        piped.scripts = {**broker.scripts, "dispatch": partial(broker.scripts["dispatch"], client=pipe)}
        for message in messages:
            piped.enqueue(message)
        pipe.execute()
