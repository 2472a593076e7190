"""Audit events on their way out: each goes as a CloudEvent onto a Redis stream, for whoever listens.

Nobody waits for it, and nobody relies on it: what Redis does not take is in the ledger all the same.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from uuid import UUID

    from redis import Redis

    from ledger.model import AuditEvent

#: The stream's name under the namespace, and how many events stay on it.
STREAM: Final = "events"
KEPT: Final = 10_000
#: The field of an entry that holds the event.
FIELD: Final = "cloudevent"

#: Events that may wait for Redis; more are left out.
_CAPACITY: Final = 1000
_LOOK_SECONDS: Final = 0.5


def cloud_event(event: AuditEvent, installation: UUID) -> dict[str, object]:
    """Return an audit event as a CloudEvent in JSON's terms.

    Source: CloudEvents 1.0, JSON event format.
    """
    data = asdict(event)
    data.pop("event_id")
    about = {} if event.run is None else {"subject": f"runs/{event.run}"}
    return {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": f"/stepback/{installation}",
        "type": f"stepback.{event.type}",
        "time": event.occurred_at,
        "datacontenttype": "application/json",
        **about,
        "data": data,
    }


class Outlet:
    """Carries events to Redis in a thread of its own."""

    def __init__(self, client: Redis, namespace: str, installation: UUID) -> None:
        self._client = client
        self._stream = f"{namespace}:{STREAM}"
        self._installation = installation
        self._waiting: Queue[AuditEvent] = Queue(_CAPACITY)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once what waits has gone out or Redis has refused it."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def put(self, event: AuditEvent) -> None:
        """Take an event; it is left out where too many wait."""
        try:
            self._waiting.put_nowait(event)
        except Full:
            return

    def _run(self) -> None:
        while True:
            try:
                event = self._waiting.get(timeout=_LOOK_SECONDS)
            except Empty:
                if self._stopped.is_set():
                    return
                continue
            self._send(event)

    def _send(self, event: AuditEvent) -> None:
        body = json.dumps(cloud_event(event, self._installation), ensure_ascii=False)
        try:
            self._client.xadd(self._stream, {FIELD: body}, maxlen=KEPT, approximate=True)
        except (RedisError, OSError):
            # It is in the ledger: who missed it here reads it there.
            return
