"""A real Alertmanager with the configuration of dashboards/, and a receiver that hears what it sends."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.alerts import DASHBOARDS
from tests.fix_tools import Tool

#: Longer than any wait of the configuration that is waited for here.
PATIENCE_SECONDS = 60.0

#: Where the placeholders of alertmanager.yml point to.
_PLACEHOLDER = "127.0.0.1:9095"


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_until(holds: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait until something holds; else fail, and say how things stood."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@dataclass(frozen=True)
class Heard:
    """One notification."""

    #: "/page", "/notice" or "/dead-man".
    path: str
    #: "firing" or "resolved".
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass
class Receiver:
    """Stands in for whoever is paged: keeps what it hears."""

    port: int
    heard: list[Heard] = field(default_factory=list)

    def wait_for(self, number: int) -> Sequence[Heard]:
        """Wait until so many notifications have come, and return them."""
        wait_until(lambda: len(self.heard) >= number, lambda: self.heard)
        return self.heard


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen for notifications during the block."""

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.heard.append(
                Heard(self.path, body["status"], body["commonLabels"], body["commonAnnotations"]),
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Alertmanager:
    """A running Alertmanager."""

    url: str
    process: subprocess.Popen[bytes]

    def post(self, *alerts: Mapping[str, Any]) -> None:
        """Raise alerts, as the monitor does: each with `labels`, and what else the API knows."""
        body = json.dumps(alerts).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/alerts", body, headers)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - as above
            pass

    def alerts(self) -> list[dict[str, Any]]:
        """Return what it holds."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:  # noqa: S310 - as above
            held: list[dict[str, Any]] = json.load(answer)
            return held

    def kill(self) -> None:
        """Let it crash."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def running(
    tool: Tool, folder: Path, *flags: str, receiver: Receiver | None = None, port: int | None = None
) -> Iterator[Alertmanager]:
    """Run an Alertmanager; a second one in the same folder goes on with the first one's data.

    Args:
        tool: The program.
        folder: Takes its data, its configuration and its log.
        flags: Of the command line, beside those that it always needs here.
        receiver: Whom it tells; nobody listens unless given.
        port: Where it listens; absent: any free one.
    """
    port = port or free_port()
    original = DASHBOARDS / "alertmanager"
    text = (original / "alertmanager.yml").read_text(encoding="utf-8")
    assert _PLACEHOLDER in text
    told = f"127.0.0.1:{receiver.port if receiver else free_port()}"
    text = text.replace(_PLACEHOLDER, told).replace("templates/*.tmpl", f"{original}/templates/*.tmpl")
    (folder / "alertmanager.yml").write_text(text, encoding="utf-8")
    arguments = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        *flags,
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([tool.path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(process, port), lambda: (folder / "log").read_text(encoding="utf-8"))
        yield Alertmanager(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, "Alertmanager has ended"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
