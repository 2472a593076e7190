"""Audit events of a run as server-sent events: each a CloudEvent in JSON, under its number in the chain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from ledger import audit
from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from ledger.model import TERMINAL, AuditEvent
from ledger.outlet import cloud_event
from ledger.standing import Standing
from producers.gateway.gateway import Gateway
from producers.gateway.tokens import Reader
from producers.gateway.watch import Stopping

MEDIA_TYPE: Final = "text/event-stream"

#: The schema of each event of a stream, for the OpenAPI document.
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One server-sent event.",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Its number in the audit log."},
        "data": {"type": "string", "contentMediaType": "application/cloudevents+json"},
    },
}

#: Events that are read at a time.
_BATCH: Final = 500
#: Something is sent so often, for whatever closes connections that are silent.
_SILENCE_SECONDS: Final = 15.0


async def read(gateway: Gateway, run: int, after: int) -> list[AuditEvent]:
    """Return the next events of a run.

    Args:
        gateway: Whose ledger.
        run: Its number.
        after: The number of the last event that is known.

    Raises:
        LedgerUnreachable: The ledger does not answer.
    """

    def look() -> list[AuditEvent]:
        with transaction(gateway.engine) as conn:
            return list(audit.read(conn, run=run, after=after, limit=_BATCH))

    return await gateway.in_thread(look)


async def stream(gateway: Gateway, reader: Reader, run: int, after: int) -> AsyncIterator[str]:
    """Give the events of a run as they come, until it has ended, or the reader's token.

    Where the ledger goes away, or this gateway ends, the stream does too: its reader comes back with the number of the
    last event.

    Args:
        gateway: Where it is read.
        reader: Who may see the run.
        run: Its number.
        after: The number of the last event that the reader has.
    """
    seen: Standing | None = None
    yield "retry: 1000\n\n"
    while (left := reader.seconds_left()) > 0:
        try:
            async with asyncio.timeout(min(left, _SILENCE_SECONDS)):
                seen = await gateway.watch.change(run, seen)
            while events := await read(gateway, run, after):
                for event in events:
                    yield _sent(event, gateway)
                after = events[-1].seq
        except TimeoutError:
            yield ": nothing new\n\n"
            continue
        except (Stopping, LedgerUnreachable):
            return
        # Its last event is written with its last state, so it has been read.
        if seen.state in TERMINAL:
            return


def _sent(event: AuditEvent, gateway: Gateway) -> str:
    data = json.dumps(cloud_event(event, gateway.outside.installation), ensure_ascii=False)
    return f"id: {event.seq}\ndata: {data}\n\n"
