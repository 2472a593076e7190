"""A worker in a child process of its own, which never outlives whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import stepback

#: How long a worker that was told to stop may take; a little more than it gives the run under way.
STOP_SECONDS = 40.0
#: How long a signal to us may go unseen.
_LOOK_SECONDS = 1.0


class WorkerProcess:
    """One running worker; as a context manager it is stopped at the end of the block."""

    def __init__(self, environ: Mapping[str, str], *, log: IO[bytes] | None = None) -> None:
        """Start it.

        Args:
            environ: Its whole environment.
            log: Takes its log; None: it goes where ours goes.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stepback", "worker", "--until-eof"],
            # Never written to: its end tells the worker that we are gone, however we went.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_finding_us(environ),
            # Ctrl-C is for us; we tell the worker.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self) -> int:
        """Wait until it ends by itself and return its exit code."""
        while True:
            # Of two signals that come together the system may give both to another thread, and then nothing wakes us.
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(_LOOK_SECONDS)

    def running(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Let it finish what it is doing and end; may be called again."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _finding_us(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the child import us from where we are, and nothing from its working directory."""
    here = str(Path(stepback.__file__).parent.parent)
    paths = [here, *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
