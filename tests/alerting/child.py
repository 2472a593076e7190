"""A server process of a test: started, frozen, killed, started again on the same port; it never outlives the test."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from tests.alerting.asking import ask
from tests.faults.processes import wait_for

#: Below what systems give to outgoing connections: a port that is free for a moment stays ours.
_PORTS = range(10_000, 30_000)
#: How long a server may take to come up on a busy machine, and to end when it is told to.
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.02


class Child(ABC):
    """One server process on a port of its own; as a context manager it is gone at the end of the block."""

    name: ClassVar[str]
    #: Answers with 200 as soon as it takes requests.
    ready: ClassVar[str] = "/-/ready"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.log = folder / f"{self.name}.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return its program and arguments."""

    def environment(self) -> Mapping[str, str] | None:
        """Return its whole environment; None: ours."""
        return None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running().pid

    # -- life -------------------------------------------------------------------

    def start(self) -> Self:
        """Start it, on the port and the data that it had before, and wait until it answers."""
        assert self._process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), *self.command()],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.answers():
            ended = self._process.poll()
            assert ended is None, f"{self.name} ended with {ended}:\n{self.told()}"
            assert time.monotonic() < deadline, f"{self.name} does not answer:\n{self.told()}"
            time.sleep(_LOOK_SECONDS)
        return self

    def answers(self) -> bool:
        """Return whether it takes requests."""
        with suppress(OSError, HTTPException):
            ask(self.port, self.ready, seconds=5)
            return True
        return False

    def kill(self) -> None:
        """End it as a power cut does: SIGKILL, with no time to write anything down."""
        self._running().kill()
        self._gone()

    def end(self) -> int:
        """Tell it to end, frozen or not; return its exit code."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        return self._gone()

    def freeze(self) -> None:
        """Stop it as a paused machine stops: connections stay, nobody answers."""
        process = psutil.Process(self.pid)
        process.suspend()
        wait_for(f"{self.name} to freeze", lambda: process.status() == psutil.STATUS_STOPPED, _PATIENCE_SECONDS)

    def thaw(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    def told(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""

    def __enter__(self) -> Self:
        # What does not come up is not left behind either.
        try:
            return self if self._process else self.start()
        except BaseException:
            self._away()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._away()

    def _away(self) -> None:
        # SIGKILL ends a frozen one too.
        if self._process is not None:
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} does not run"
        return self._process

    def _gone(self) -> int:
        process, self._process = self._running(), None
        try:
            return process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end when it was told to:\n{self.told()}") from None


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens at, and that no outgoing connection is given."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - so that tests side by side seldom try the same
        with socket.socket() as line, suppress(OSError):
            line.bind(("127.0.0.1", port))
            return port


def _dying_with_us() -> list[str]:
    """Return what makes Linux kill a child whose parent is gone, however it went; elsewhere nothing does."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
