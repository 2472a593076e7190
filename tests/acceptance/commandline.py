"""The command line in real processes: run to the end, or kept running and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).parent.parent.parent

#: Longer than anything that is waited for here takes.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - whatever JSON it printed
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The code word of the error document."""
        code: str = self.document["error"]["code"]
        return code


@dataclass(frozen=True)
class CommandLine:
    """Where commands are run: a working directory, and variables over a clean environment."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def but(self, **variables: str) -> Self:
        """Return the same with other variables."""
        return replace(self, variables={**self.variables, **variables})

    def run(self, *arguments: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "stepback", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def succeed(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON it printed
        """Run a command with --json, see that it succeeds, and return its document."""
        done = self.run(*arguments, "--json")
        assert done.code == 0, (arguments, done)
        return done.document

    @contextmanager
    def running(self, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a command running during the block; it has to end by itself when it is told to.

        Args:
            arguments: The command.
            log: Takes its standard output and error.
        """
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "stepback", *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a command."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STEPBACK_")}
        return {**clean, "PYTHONPATH": str(_ROOT), **self.variables}


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def said(log: Path, words: str) -> Callable[[], bool]:
    """Return whether a log holds some words, as a question for `wait_for`."""
    return lambda: words in log.read_text(encoding="utf-8", errors="replace")
