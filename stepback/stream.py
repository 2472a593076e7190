"""`stepback stream`: a consumer between the Redis stream and the one way in, until it is told to end."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from uuid import uuid4

import structlog

from ledger.doorbell import open_doorbell
from ledger.errors import QueueUnreachable
from ledger.log import configure_logging, flush
from producers.stream import VIA, Consumer
from producers.stream_group import Group
from producers.submit import OneWayIn
from stepback.installation import Installation, secret
from stepback.pins import Pins
from worker.stops import listen

log = structlog.get_logger(__name__)


def consume(here: Installation) -> int:
    """Read the stream until SIGTERM or SIGINT; return the process's exit code.

    Args:
        here: The installation.

    Raises:
        BadConfiguration: The ledger is not installed, or [stream] names keys that cannot be used.
        LedgerUnreachable: The ledger does not answer at the beginning; later it is waited for.
    """
    configure_logging()
    stops = listen()
    settings, engine = here.settings, here.engine
    broker = open_doorbell(secret(settings.redis.url), namespace=settings.redis.namespace)
    # Never a name that was there before: two would carry what is pending under it.
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    group = Group(broker, settings.stream, name)
    with Pins(settings) as pin:
        way_in = OneWayIn(engine=engine, broker=broker, settings=settings, pin=pin, via=VIA)
        consumer = Consumer(group, way_in, engine, claim_seconds=settings.stream.claim_seconds)
        log.info("stream_started", consumer=name, stream=settings.stream.name, group=settings.stream.group)
        consumer.run(partial(_stopped, stops))
    log.info("stream_stopping", consumer=name)
    with suppress(QueueUnreachable):
        group.leave()
    broker.client.close()
    log.info("stream_stopped", consumer=name)
    flush()
    return 0


def _stopped(stops: SimpleQueue[int], seconds: float) -> bool:
    """Wait for a signal, some seconds at most, and return whether one has come."""
    with suppress(Empty):
        stops.get(timeout=seconds)
        return True
    return False
