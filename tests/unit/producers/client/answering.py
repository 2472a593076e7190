"""A small HTTP server that answers as it is told to, and breaks connections as networks do."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

#: The installation that it says it is.
INSTALLATION = "2f6f1c1e-93a5-4b52-8c7f-fb2f6b1c0d11"

COMMAND_ID = "7a0a1a64-5a5d-4a6e-9f0b-0d5c5b6f3a11"


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def envelope(self) -> str:
        """The signed text in it."""
        envelope: str = json.loads(self.body)["envelope"]
        return envelope


class Handler(BaseHTTPRequestHandler):
    """Answers with what comes next in the list."""

    protocol_version = "HTTP/1.1"
    server: Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path.endswith("/v1/installation"):
            document({"installation": INSTALLATION})(self)
            return
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers), body))
        self.server.answers.pop(0)(self)

    do_GET = do_POST = _handle  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


Answer: TypeAlias = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """What it was asked, and what it answers next."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def will(self, *answers: Answer) -> None:
        """Answer so, one after the other."""
        self.answers.extend(answers)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve during the block."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# -- answers ----------------------------------------------------------------


def text(status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with these bytes."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def document(body: Mapping[str, Any], status: int = 200) -> Answer:
    """Answer with JSON."""
    return text(status, json.dumps(body).encode(), "application/json")


def problem(status: int, code: str, detail: str, **headers: str) -> Answer:
    """Answer with a problem document."""
    body = {"type": f"urn:stepback:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return text(status, json.dumps(body).encode(), "application/problem+json", named)


def reset(handler: Handler) -> None:
    """Read the request, then reset the connection: nobody can tell whether it arrived."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
    # What http.server still flushes goes nowhere.
    handler.wfile = handler.rfile = _Nowhere()  # type: ignore[assignment]


def stream(body: bytes, *, whole: bool) -> Answer:
    """Answer with server-sent events, and end the stream properly or by breaking off."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        # In small pieces, so that characters and lines are cut.
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


accepted = document({"command_id": COMMAND_ID, "run": 7, "new": True}, 202)


def run(state: str = "completed", **changes: object) -> Answer:
    """Answer with a run."""
    return document(
        {
            "run": 7,
            "command_id": COMMAND_ID,
            "kind": "rollback",
            "target": "goodbuy_hq",
            "migration": "add_health_alerts",
            "state": state,
            "phase": "apply",
            "requested_by": "service:billing",
            "reason": "bad release",
            "plan_sha256": "5e" * 32,
            "impact_sha256": "1a" * 32,
            "error": None,
            "submitted_at": "2025-09-03T12:00:00.000000Z",
            "finished_at": "2025-09-03T12:00:01.000000Z",
            "a_key_of_a_later_version": [],
            **changes,
        }
    )


@dataclass
class _Nowhere:
    closed: bool = field(default=True)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
