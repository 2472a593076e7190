"""What a dead exporter said last is held by a real Prometheus, also when that restarts, until the first good look."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.alerting.child import free_port
from tests.alerts import PROMETHEUS
from tests.fix_tools import Tool

_PATIENCE_SECONDS = 30.0

_SEEN = 'stepback_collector_up{part="ledger"} 1\n'


def _stuck() -> str:
    began = time.time() - 1000
    return f'{_SEEN}stepback_oldest_progress_timestamp_seconds{{target="shop",phase="apply"}} {began}\n'


@contextmanager
def _exporting(port: int, text: str) -> Iterator[None]:
    """Serve metrics in the place of a monitor, and be dead afterwards."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _prometheus(tool: Tool, folder: Path, port: int) -> Iterator[None]:
    """Run a Prometheus with the configuration in a folder, and its data there."""
    arguments = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([tool.path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def _answer(port: int, expression: str) -> list[str]:
    """Return the values that an expression has now."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as answer:
        return [each["value"][1] for each in json.load(answer)["data"]["result"]]


def _becomes(port: int, expression: str, number: int) -> None:
    """Wait until an expression has so many values."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = _answer(port, expression)
        except (OSError, urllib.error.URLError) as error:
            last = error
        if isinstance(last, list) and len(last) == number:
            return
        time.sleep(0.1)
    raise AssertionError((expression, last))


def test_what_was_seen_last_is_held(prometheus: Tool, tmp_path: Path) -> None:
    """Stuck, dead, restarted: still stuck. Back and not stuck: let go. Dead again: not brought back."""
    exporter, port = free_port(), free_port()
    for path in PROMETHEUS.glob("*.yml"):
        text = path.read_text(encoding="utf-8").replace("127.0.0.1:9465", f"127.0.0.1:{exporter}")
        (tmp_path / path.name).write_text(text.replace("interval: 10s", "interval: 500ms"), encoding="utf-8")
    overdue, dead = "stepback:run_overdue_seconds", 'up{job="stepback-monitor"} == 0'

    with _prometheus(prometheus, tmp_path, port):
        with _exporting(exporter, _stuck()):
            _becomes(port, overdue, 1)
        _becomes(port, dead, 1)
        time.sleep(2)
        assert len(_answer(port, overdue)) == 1
        assert _answer(port, "stepback_oldest_progress_timestamp_seconds") == []

    with _prometheus(prometheus, tmp_path, port):
        _becomes(port, f"{overdue} and on () ({dead})", 1)
        time.sleep(2)
        assert len(_answer(port, overdue)) == 1

        with _exporting(exporter, _SEEN):
            _becomes(port, overdue, 0)
        _becomes(port, dead, 1)
        time.sleep(2)
        assert _answer(port, overdue) == []
