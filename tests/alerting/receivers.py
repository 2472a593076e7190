"""Where notifications arrive: a webhook server on a real socket, which may be out of order, and a dead-man switch."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: Where heartbeats arrive.
DEAD_MAN = "dead-man"


class Manner(StrEnum):
    """How the receiver takes what is sent to it."""

    ANSWERS = "answers"
    #: 500, as a receiver whose database is away.
    FAILS = "fails"
    #: The request is read, and nothing comes back.
    HANGS = "hangs"
    #: The connection is reset once the request is read.
    RESETS = "resets"


@dataclass(frozen=True)
class Notification:
    """What one POST of Alertmanager said about one alert."""

    #: The last part of the path: page, ticket, dead-man.
    receiver: str
    #: `firing` or `resolved`.
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    #: When it arrived, on this process's monotonic clock.
    at: float

    @property
    def alert(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]


class Receiver:
    """Keeps every notification that it accepted, and counts those that it did not; every path is taken.

    A notification counts once it was answered with 200; what met another manner is only in `turned_away`.
    """

    def __init__(self) -> None:
        self.manner = Manner.ANSWERS
        #: Requests that were not answered with 200.
        self.turned_away = 0
        self._taken: list[Notification] = []
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def url(self, receiver: str) -> str:
        """Return the URL of a receiver, by the name that its notifications are kept under."""
        return f"http://127.0.0.1:{self.port}/{receiver}"

    # -- looking ----------------------------------------------------------------

    def taken(self, receiver: str, alert: str, status: str = "firing", **labels: str) -> list[Notification]:
        """Return the notifications about an alert, in the order of their arrival.

        Args:
            receiver: `page`, `ticket` or `dead-man`.
            alert: The alert's name.
            status: `firing` or `resolved`.
            labels: More labels that it has to have.
        """
        with self._news:
            return [one for one in self._taken if _is(one, receiver, alert, status, labels)]

    def heard(self, receiver: str) -> list[tuple[str, str]]:
        """Return the status and the alert of everything that a receiver was told, in order."""
        with self._news:
            return [(one.status, one.alert) for one in self._taken if one.receiver == receiver]

    def pages(self, alert: str, **labels: str) -> list[Notification]:
        """Return the pages about an alert that fires."""
        return self.taken("page", alert, **labels)

    def wait_for(self, what: str, is_so: Callable[[Notification], bool], seconds: float = 30) -> Notification:
        """Wait for a notification, or take the first that came already; say what came instead if none does."""
        with self._news:
            come = self._news.wait_for(lambda: any(map(is_so, self._taken)), seconds)
            came = [f"{one.receiver}: {one.status} {dict(one.labels)}" for one in self._taken]
            assert come, f"waited {seconds:g} s for {what}; came: {came}"
            return next(filter(is_so, self._taken))

    def wait_for_page(self, alert: str, *, seconds: float = 30, status: str = "firing", **labels: str) -> Notification:
        """Wait until an alert has paged or, with `status="resolved"`, until the page was taken back."""
        return self.wait_for(f"{status} {alert} {labels}", lambda one: _is(one, "page", alert, status, labels), seconds)

    def wait_until_turned_away(self, seconds: float = 30) -> None:
        """Wait until it has turned a request away, or hangs on one."""
        with self._news:
            assert self._news.wait_for(lambda: self.turned_away > 0, seconds), f"waited {seconds:g} s for a request"

    def last(self, receiver: str) -> float | None:
        """Return when a receiver last heard something, on this process's monotonic clock; None: never."""
        with self._news:
            return max((one.at for one in self._taken if one.receiver == receiver), default=None)

    # -- taking -----------------------------------------------------------------

    def take(self, receiver: str, body: bytes) -> Manner:
        """Take a request as the manner of the moment is; return that manner when it is time to answer."""
        with self._news:
            manner = self.manner
            if manner is Manner.ANSWERS:
                now = time.monotonic()
                self._taken += [_notification(receiver, alert, now) for alert in json.loads(body)["alerts"]]
            else:
                self.turned_away += 1
            self._news.notify_all()
        if manner is Manner.HANGS:
            self._closing.wait()
        return manner

    def close(self) -> None:
        """Listen no longer; requests that hang end."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def out_of_order(self, manner: Manner) -> Iterator[None]:
        """Take requests in another manner as long as the block runs."""
        self.manner = manner
        try:
            yield
        finally:
            self.manner = Manner.ANSWERS


@dataclass(frozen=True)
class DeadMan:
    """A switch that trips when heartbeats stay away: the one alarm that needs nobody to send it."""

    receiver: Receiver

    def heartbeats(self) -> int:
        """Return how many heartbeats have come."""
        return len(self.receiver.heard(DEAD_MAN))

    def tripped(self, after_seconds: float) -> bool:
        """Return whether no heartbeat has come for so long; before the first one it cannot trip."""
        last = self.receiver.last(DEAD_MAN)
        return last is not None and time.monotonic() - last > after_seconds


class _Server(ThreadingHTTPServer):
    #: Many alerts may arrive at once, each on a connection of its own.
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base class has it
        # Without the polite end that comes before a close: it would keep a reset from being one.
        self.close_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        manner = self.server.receiver.take(self.path.strip("/"), body)
        match manner:
            case Manner.ANSWERS | Manner.FAILS:
                failed = manner is Manner.FAILS
                self.send_response(HTTPStatus.INTERNAL_SERVER_ERROR if failed else HTTPStatus.OK)
                self.send_header("Content-Length", "0")
                self.end_headers()
            case Manner.RESETS | Manner.HANGS:
                # Closed at once and without a FIN: the sender sees a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as the base class has it
        """Say nothing: what came is kept."""


def _notification(receiver: str, alert: Mapping[str, Any], at: float) -> Notification:
    return Notification(receiver, alert["status"], alert["labels"], alert["annotations"], at)


def _is(one: Notification, receiver: str, alert: str, status: str, labels: Mapping[str, str]) -> bool:
    return (one.receiver, one.alert, one.status) == (receiver, alert, status) and labels.items() <= one.labels.items()
