"""What the embedded servers have in common: the first who needs one starts it, the last stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from ledger.errors import BadConfiguration, StepbackError
from stepback.embedded.usage import Usage, changing

#: How long a server that is to stop may take before it is killed.
STOP_SECONDS = 30.0
#: How often a server that starts or stops is looked at.
_LOOK_SECONDS = 0.02


class EmbeddedServerFailed(StepbackError):
    """An embedded server did not start; the message names its log."""

    code = "embedded_server_failed"


class Server(ABC):
    """One embedded server in a data folder, shared by every process that has a handle on it.

    A handle that was made but not started may be stopped too: that ends a server which a killed process left behind.
    """

    #: The name of its files in the data folder.
    name: ClassVar[str]
    #: What its process is called.
    executable: ClassVar[str]
    #: How long it may take to answer. A crashed PostgreSQL reads its log first.
    start_seconds: ClassVar[float]

    #: Processes that this process started, by id: only their parent can reap them.
    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(self, data: Path) -> None:
        self.data = data.expanduser().resolve()
        try:
            # Root's PostgreSQL runs as another account, which has to pass through.
            self.data.mkdir(mode=0o700 if os.geteuid() else 0o711, parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfiguration(f"data folder {data} cannot be made: {error.strerror}") from error
        self.log = self.data / f"{self.name}.log"
        self._usage = Usage(self.data / f"{self.name}.lock")

    @property
    @abstractmethod
    def home(self) -> Path:
        """The working directory of the server's process, which tells it from others of its name."""

    @abstractmethod
    def pid(self) -> int | None:
        """Return what the server's pid file says, true or not."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server takes commands."""

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Start the server's process, in a session of its own: Ctrl-C is for its users."""

    def stop(self) -> None:
        """Give up this handle, and stop the server if nobody else uses it; may be called again."""
        try:
            with changing(self.data):
                if self._usage.alone():
                    self._end()
        finally:
            self._usage.give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _use(self) -> None:
        """Start the server, or share the one that runs."""
        try:
            with changing(self.data):
                if self._usage.alone():
                    # Left behind by a killed process, perhaps with other settings.
                    self._end()
                    self._begin()
                self._usage.share()
            self._wait(None)
        except BaseException:
            # Ctrl-C may come at any time.
            self.stop()
            raise

    def _begin(self) -> None:
        try:
            child = self._launch()
        except OSError as error:
            raise EmbeddedServerFailed(f"{self.executable} cannot be started: {error}") from error
        self._children[child.pid] = child
        try:
            self._wait(child)
        except BaseException:
            if child.poll() is None:
                _end(psutil.Process(child.pid), signal.SIGINT)
            self._children.pop(child.pid).wait()
            raise

    def _wait(self, child: subprocess.Popen[bytes] | None) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self.answers():
            if child is not None and child.poll() is not None:
                raise EmbeddedServerFailed(f"{self.executable} ended at once with {child.returncode}; see {self.log}")
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(f"{self.executable} does not answer; see {self.log}")
            time.sleep(_LOOK_SECONDS)

    def _end(self) -> None:
        process = self._process()
        if process is not None:
            _end(process, signal.SIGINT)
            child = self._children.pop(process.pid, None)
            if child is not None:
                child.wait()
        self._clear()

    @abstractmethod
    def _clear(self) -> None:
        """Take away what a server leaves behind that did not end by itself."""

    def _process(self) -> psutil.Process | None:
        """Return the server's process; None also if its id belongs to another process by now."""
        pid = self.pid()
        with suppress(psutil.Error):
            process = psutil.Process(pid) if pid else None
            if process and process.name().startswith(self.executable) and process.cwd() == str(self.home):
                return process
        return None


def _end(process: psutil.Process, sign: signal.Signals) -> None:
    """End a process by a signal; kill it and its children if it does not follow in time."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(sign)
        if not _gone(process, STOP_SECONDS):
            for each in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            _gone(process, STOP_SECONDS)


def _gone(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        # A zombie is gone: its parent, who may not be us, has yet to say so.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
    return True
