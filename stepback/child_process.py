"""A worker, a monitor or a door in a child process of its own, which never outlives whoever started it."""

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

#: How long one that was told to stop may take; a little more than a worker gives the run under way.
STOP_SECONDS = 40.0


class ChildProcess:
    """One running worker, monitor or door; as a context manager it is stopped at the end of the block."""

    def __init__(self, command: str, environ: Mapping[str, str], *, log: IO[bytes] | None = None) -> None:
        """Start it.

        Args:
            command: Of `stepback`: one that takes `--until-eof`, such as "worker".
            environ: Its whole environment.
            log: Takes its log; None: it goes where ours goes.
        """
        self._process = subprocess.Popen(  # noqa: S603 - a command of ours
            [sys.executable, "-m", "stepback", command, "--until-eof"],
            # Never written to: its end tells the worker that we are gone, however we went.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_finding_us(environ),
            # Ctrl-C is for us; we tell the child.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ended(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._process.poll()

    def running(self) -> bool:
        """Return whether it still runs."""
        return self.ended() is None

    def tell_to_stop(self) -> None:
        """Let it finish what it is doing, without waiting for that."""
        self._process.terminate()

    def stop(self) -> None:
        """Let it finish what it is doing and end; may be called again."""
        self.tell_to_stop()
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
