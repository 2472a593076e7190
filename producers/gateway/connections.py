"""Connections: so many at once, and none that takes for ever to say what it wants."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from producers.gateway.problems import Problem, respond

#: How long the head of a request may take to arrive.
HEAD_SECONDS: Final = 10.0


class Bounded(H11Protocol):
    """HTTP/1.1 on one connection of many."""

    #: Connections at once; more are told to come back.
    most: ClassVar[int]
    head_seconds: ClassVar[float] = HEAD_SECONDS

    _head_is_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin, or send it away where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_full())
            transport.close()
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_head()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """Set the time while no request is under way; what comes in byte by byte does not set it anew."""
        # uvicorn's types do not say that there is none at first.
        cycle: RequestResponseCycle | None = self.cycle
        if self.transport.is_closing() or (cycle is not None and not cycle.response_complete):
            self._unwatch_head()
        elif self._head_is_due is None:
            self._head_is_due = self.loop.call_later(self.head_seconds, self.timeout_keep_alive_handler)

    def _unwatch_head(self) -> None:
        if self._head_is_due is not None:
            self._head_is_due.cancel()
            self._head_is_due = None


def bounded(connections: int, seconds: float = HEAD_SECONDS) -> type[Bounded]:
    """Return the protocol of a server.

    Args:
        connections: So many at once.
        seconds: How long the head of a request may take to arrive.
    """

    class Protocol(Bounded):
        most = connections
        head_seconds = seconds

    return Protocol


def _full() -> bytes:
    body = bytes(respond(Problem(503, "too_many_connections", "too many connections; try again in 1 s")).body)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
