"""A pager for the demo: a real Alertmanager, and somebody who hears what it sends."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from ledger.errors import NotPossible

#: What Alertmanager is called, by those who make it and by Debian.
_NAMES = ("alertmanager", "prometheus-alertmanager")
_START_SECONDS = 20.0
_LOOK_SECONDS = 0.05

_CONFIG = """
route: {{receiver: pager, group_by: [alertname, target, run], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: pager, webhook_configs: [{{url: "http://127.0.0.1:{port}/", send_resolved: true}}]}}]
"""


@dataclass(frozen=True)
class Page:
    """One alert of one notification."""

    #: "firing" or "resolved".
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass
class Pager:
    """Hears notifications."""

    url: str
    pages: list[Page] = field(default_factory=list)

    def wait_for(self, wanted: Callable[[Page], bool], seconds: float) -> Page | None:
        """Return the first page that is wanted; None if none comes in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for page in [*self.pages]:
                if wanted(page):
                    return page
            time.sleep(_LOOK_SECONDS)
        return None


def find_alertmanager() -> str:
    """Return where Alertmanager is.

    Raises:
        NotPossible: It is not installed.
    """
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    raise NotPossible(
        f"this chapter needs Alertmanager, and neither {' nor '.join(_NAMES)} is on the PATH; install it, such as"
        " Debian's package prometheus-alertmanager"
    )


@contextmanager
def pager(folder: Path) -> Iterator[Pager]:
    """Run an Alertmanager, and hear what it sends.

    Raises:
        NotPossible: It is not installed, or does not start; its log is in the folder.
    """
    program = find_alertmanager()
    heard: list[Page] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(heard)) as server:
        threading.Thread(target=server.serve_forever, name="pager", daemon=True).start()
        with _alertmanager(program, folder, server.server_port) as url:
            yield Pager(url, heard)
        server.shutdown()


@contextmanager
def _alertmanager(program: str, folder: Path, pager_port: int) -> Iterator[str]:
    config = folder / "alertmanager.yml"
    config.write_text(_CONFIG.format(port=pager_port), encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - found on the PATH by its name
            [
                program,
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"http://{address}", process, folder)
            yield f"http://{address}"
        finally:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            httpx.get(f"{url}/-/ready", trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(_LOOK_SECONDS)
        else:
            return
    raise NotPossible(f"Alertmanager does not start; see {folder / 'alertmanager.log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _handler(heard: list[Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.extend(Page(each["status"], each["labels"], each["annotations"]) for each in told["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
