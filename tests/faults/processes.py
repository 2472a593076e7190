"""Worker processes for the fault tests: started with a target's URLs, waited for, frozen, killed, looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import psutil
from prometheus_client.parser import text_string_to_metric_families

from ledger.doorbell import QUEUE, open_doorbell, ring
from ledger.model import TERMINAL, Command, Run, State
from tests import signing
from tests.harness import TARGET, Engine

_WORKER = Path(__file__).parent / "crashing_worker.py"
_ROOT = Path(__file__).parent.parent.parent
#: Longer than a worker that is told to end waits for the run under way.
_END_SECONDS = 40


@dataclass(frozen=True)
class Station:
    """Where workers are started: one target, one ledger, one Redis namespace."""

    engine: Engine
    ledger_url: str
    redis_url: str
    namespace: str
    log: Path
    #: Environment variables over the ordinary ones.
    more: Mapping[str, str] = field(default_factory=dict)
    #: Ordinary ones to leave out.
    less: frozenset[str] = frozenset()

    def environment(self) -> dict[str, str]:
        """Return what a worker process is configured with."""
        name = TARGET.upper()
        ordinary = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "STEPBACK_LEDGER_URL": self.ledger_url,
            "STEPBACK_REDIS_URL": self.redis_url,
            "STEPBACK_REDIS_NAMESPACE": self.namespace,
            f"STEPBACK_TARGETS__{name}__URL": self.engine.url,
            f"STEPBACK_TARGETS__{name}__PLANS": str(self.engine.plans),
            **{f"STEPBACK_TARGETS__{name}__{key.upper()}": str(value) for key, value in self.engine.limits.items()},
            "STEPBACK_TRUST_LOCAL_OPERATOR": "all",
            "STEPBACK_WORKER_METRICS_PORT": "0",
            "STEPBACK_WORKER_LEASE_SECONDS": "1",
            "STEPBACK_WORKER_RECONCILE_SECONDS": "0.2",
            "STEPBACK_WORKER_MAX_ATTEMPTS": "100",
        }
        return {**{key: value for key, value in ordinary.items() if key not in self.less}, **self.more}

    # -- commands ---------------------------------------------------------------

    def record(self, command: Command) -> int:
        """Write a command to the ledger, as `submit` does before it rings; return its run."""
        return signing.record_signed(self.engine.ledger, command)

    def ring(self, command_id: UUID, times: int = 1) -> None:
        """Ring for a command, as `submit` does."""
        broker = open_doorbell(self.redis_url, namespace=self.namespace)
        for _ in range(times):
            ring(broker, command_id)
        broker.client.close()

    def ended(self, run: int) -> Run:
        """Wait until a run has reached its end, and approve it where it waits for that; return it."""

        def has_ended() -> bool:
            state = self.engine.find(run).state
            if state is State.AWAITING_APPROVAL:
                signing.approve(self.engine.ledger, run)
            return state in TERMINAL

        wait_for(f"run {run} to end", has_ended)
        return self.engine.find(run)

    def queue_is_empty(self) -> bool:
        """Return whether Redis holds no message: none that waits, none that is being carried out, no dead letter."""
        broker = open_doorbell(self.redis_url, namespace=self.namespace)
        try:
            keys = [*broker.client.scan_iter(f"{self.namespace}:{QUEUE}*")]
            return not keys and not [*broker.client.scan_iter(f"{self.namespace}:__acks__*")]
        finally:
            broker.client.close()

    # -- processes --------------------------------------------------------------

    @contextmanager
    def worker(
        self, fatal: str = "", met: str = "SIGKILL", token: Path | None = None, stderr: IO[bytes] | int | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker process; at the end of the block it is gone, one way or the other.

        Args:
            fatal: A crash point where it comes to grief.
            met: The signal that it is met by there.
            token: Makes that happen once, to one of the processes that share the file.
            stderr: Where its log goes, if not to ours.
        """
        command = [sys.executable, str(_WORKER), *([fatal, met, str(token or "")] if fatal else [])]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment(), stderr=stderr or log, stdout=log)
            try:
                yield process
            finally:
                _end(process)
                self._gone(process)

    def _gone(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            # Where it hangs is in no log: it says so itself, and is then gone all the same.
            process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            process.kill()
            process.wait()
            tail = self.log.read_text(errors="replace")[-8000:]
            raise AssertionError(f"worker {process.pid} did not end within {_END_SECONDS} s:\n{tail}") from None

    @contextmanager
    def workers(self, count: int, fatal: str = "", token: Path | None = None) -> Iterator[list[int]]:
        """Run workers of which one freezes at a crash point, once; give their process ids when all listen."""
        with ExitStack() as stack:
            each = [stack.enter_context(self.worker(fatal, "SIGSTOP", token)) for _ in range(count)]
            for process in each:
                self.port(process.pid)
            yield [process.pid for process in each]
            for process in each:
                _end(process)

    # -- looking ----------------------------------------------------------------

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of the workers' log about an event."""
        lines = []
        for line in self.log.read_bytes().splitlines():
            # The last one may be half written.
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [told for told in lines if told["event"] == event and fields.items() <= told.items()]

    def port(self, pid: int) -> int:
        """Wait until a worker listens; return where it serves its metrics."""

        def ports() -> list[int]:
            return [n["metrics_port"] for n in self.told("worker_started") if n["worker"].endswith(f":{pid}")]

        wait_for("a worker to start", lambda: bool(ports()))
        return ports()[-1]

    def metrics(self, pid: int) -> dict[str, float]:
        """Return every sample that a worker shows, `name{label="value"}` by value."""
        return shown(self.port(pid))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tell a worker to end; a frozen one hears of it when it wakes."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)


def shown(port: int) -> dict[str, float]:
    """Return every sample that a process of Stepback shows on a port, `name{label="value"}` by value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {_spelled(sample.name, sample.labels): sample.value for sample in samples}


def _spelled(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def frozen(token: Path) -> int:
    """Wait until the worker that holds a token is frozen; return its process id."""

    def pid() -> int:
        return int(token.read_text(encoding="ascii") or 0) if token.exists() else 0

    wait_for("a worker to freeze", lambda: pid() > 0 and psutil.Process(pid()).status() == psutil.STATUS_STOPPED)
    return pid()


def wait_for(what: str, check: Callable[[], bool], seconds: float = 90) -> None:
    """Wait until something is so; say what was waited for if it never is."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
