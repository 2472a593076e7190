"""Worker processes for the fault tests: started with a target's URLs, waited for, killed, looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ledger.doorbell import open_doorbell, ring
from tests.harness import TARGET, Engine

_WORKER = Path(__file__).parent / "crashing_worker.py"
_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Station:
    """Where workers are started: one target, one ledger, one Redis namespace."""

    engine: Engine
    ledger_url: str
    redis_url: str
    namespace: str
    log: Path

    def environment(self) -> dict[str, str]:
        """Return what a worker process is configured with."""
        name = TARGET.upper()
        return {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "STEPBACK_LEDGER_URL": self.ledger_url,
            "STEPBACK_REDIS_URL": self.redis_url,
            "STEPBACK_REDIS_NAMESPACE": self.namespace,
            f"STEPBACK_TARGETS__{name}__URL": self.engine.url,
            f"STEPBACK_TARGETS__{name}__PLANS": str(self.engine.plans),
            **{f"STEPBACK_TARGETS__{name}__{key.upper()}": str(value) for key, value in self.engine.limits.items()},
            "STEPBACK_WORKER_METRICS_PORT": "0",
            "STEPBACK_WORKER_LEASE_SECONDS": "1",
            "STEPBACK_WORKER_RECONCILE_SECONDS": "0.2",
            "STEPBACK_WORKER_MAX_ATTEMPTS": "20",
        }

    def ring(self, command_id: UUID) -> None:
        """Ring for a command, as `submit` does."""
        broker = open_doorbell(self.redis_url, namespace=self.namespace)
        ring(broker, command_id)
        broker.client.close()

    @contextmanager
    def worker(self, fatal: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker process; at the end of the block it is gone, one way or the other."""
        command = [sys.executable, str(_WORKER), *([fatal] if fatal else [])]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment(), stderr=log, stdout=log)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                process.wait(timeout=40)


def wait_for(what: str, check: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so; say what was waited for if it never is."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
