"""An Alertmanager of one's own on a free port, which tells nobody."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

_NAMES = ("prometheus-alertmanager", "alertmanager")
_CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
_PATIENCE_SECONDS = 30.0


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@dataclass
class LocalAlertmanager:
    """Can be killed and started again, on the same port and with nothing remembered."""

    folder: Path
    port: int = field(default_factory=_free_port)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        configuration = self.folder / "alertmanager.yml"
        configuration.write_text(_CONFIGURATION, encoding="utf-8")
        command = [
            needed(*_NAMES),
            f"--config.file={configuration}",
            f"--storage.path={self.folder}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "Alertmanager does not answer"
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def holds(self) -> list[dict[str, Any]]:
        """Return the alerts that stand, by name and then by run."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False).json()
        return sorted(found, key=lambda alert: (alert["labels"]["alertname"], alert["labels"].get("run", "")))

    def names(self) -> list[str]:
        """Return the names of the alerts that stand."""
        return [alert["labels"]["alertname"] for alert in self.holds()]

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Alertmanager has ended"
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.HTTPError:
            return False


def needed(*names: str) -> str:
    """Return the path of a binary by the first of its names that is there; without any, skip: in CI, fail."""
    for name in names:
        if found := shutil.which(name):
            return found
    reason = f"{names[0]} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
