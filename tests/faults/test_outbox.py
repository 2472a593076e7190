"""Relays that are killed, frozen and followed by others: every request becomes one run, and its number comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine

from ledger import audit
from ledger.database import transaction
from ledger.doorbell import QUEUE, open_doorbell
from ledger.model import Run
from ledger.runs import list_runs
from producers.outbox import BATCH, CRASH_POINTS
from tests.faults.processes import wait_for
from tests.fix_outbox import Application
from worker.install import install
from worker.target import connect

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_PLANS = _ROOT / "sql" / "plans" / "goodbuy_hq"
_CONFIGURATION = """
[producers."outbox:shop/shop_billing"]
kinds = ["rollback"]
targets = ["goodbuy_*"]
destructive_per_hour = 1000
"""
ASK = "SELECT stepback.request_rollback('add_health_alerts', 'wrong alerts', 'goodbuy_hq')"


@dataclass(frozen=True)
class Post:
    """Where relays are started: one application, one ledger, one target."""

    application: Application
    engine: Engine
    environment: dict[str, str]
    log: Path

    def ask(self, times: int = 1) -> None:
        """Ask for the same so many times, as an application does."""
        self.application.execute("shop_billing", f"{ASK} FROM generate_series(1, {times})")

    def answers(self) -> list[Any]:
        """Return the number of the run of each request, None where there is none yet."""
        return [row["run"] for row in self.application.rows()]

    def runs(self) -> list[Run]:
        """Return all runs."""
        with transaction(self.engine) as conn:
            return list_runs(conn, limit=1000)

    def submitted(self) -> int:
        """Return how many commands the audit log knows of."""
        with transaction(self.engine) as conn:
            assert audit.verify(conn).ok
            return sum(event.type == "command_submitted" for event in audit.read(conn))

    def bells(self) -> int:
        """Return how many messages wait on Redis."""
        broker = open_doorbell(
            self.environment["STEPBACK_REDIS_URL"], namespace=self.environment["STEPBACK_REDIS_NAMESPACE"]
        )
        try:
            return int(broker.client.hlen(f"{broker.namespace}:{QUEUE}.msgs"))
        finally:
            broker.client.close()

    @contextmanager
    def relay(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a relay process; at the end of the block it is gone.

        Args:
            arguments: A crash point and the signal that meets it there; none: as in production.
        """
        command = [str(_HERE / "crashing_relay.py"), *arguments] if arguments else ["-m", "stepback", "outbox"]
        with self.log.open("ab") as log:
            process = subprocess.Popen([sys.executable, *command], env=self.environment, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def servers(ledger_url: str, redis_url: str, redis_namespace: str, target_url: str) -> dict[str, str]:
    """Give the variables that lead to a ledger, a Redis namespace and a target of one's own."""
    session = connect(target_url, "test")
    install(session)
    session.close()
    return {
        "STEPBACK_LEDGER_URL": ledger_url,
        "STEPBACK_REDIS_URL": redis_url,
        "STEPBACK_REDIS_NAMESPACE": redis_namespace,
        "STEPBACK_TARGETS__GOODBUY_HQ__URL": target_url,
        "STEPBACK_TARGETS__GOODBUY_HQ__PLANS": str(_PLANS),
    }


@pytest.fixture
def post(application: Application, ledger_engine: Engine, servers: dict[str, str], tmp_path: Path) -> Post:
    """Give a place to start relays at."""
    configuration = tmp_path / "stepback.toml"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    environment = {
        **os.environ,
        **servers,
        "PYTHONPATH": str(_ROOT),
        "STEPBACK_CONFIG": str(configuration),
        "STEPBACK_DATA": str(tmp_path / "data"),
        "STEPBACK_OUTBOXES__SHOP__URL": application.url("stepback_relay"),
        "STEPBACK_OUTBOXES__SHOP__POLL_SECONDS": "0.2",
    }
    return Post(application, ledger_engine, environment, tmp_path / "relay.log")


def is_frozen(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process stands still."""
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


@pytest.mark.parametrize("point", [*CRASH_POINTS, "recorded", "rung"])
def test_a_relay_may_be_killed_anywhere(post: Post, point: str) -> None:
    """Killed between any two effects, a relay is followed by one that finishes: one command, one run, one answer."""
    post.ask()

    with post.relay(point, "SIGKILL") as killed:
        assert killed.wait(60) == -signal.SIGKILL
    post.log.unlink()
    with post.relay() as relay:
        wait_for("the second to look", lambda: "outbox_opened" in post.log.read_text(encoding="utf-8"))
        wait_for("an answer", lambda: None not in post.answers())
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(60) == 0

    (run,) = post.runs()
    assert post.answers() == [run.run]
    assert post.submitted() == 1
    assert run.requested_by == "outbox:shop/shop_billing"
    # It may be rung for twice: a worker claims it once.
    assert post.bells() >= 1


def test_a_frozen_relay_holds_up_only_what_it_has_taken(post: Post) -> None:
    """While one relay stands still another goes on with the rest; when the first is killed, with its part too."""
    post.ask(BATCH + 6)

    with post.relay("handed_in", "SIGSTOP") as frozen:
        wait_for("the first to freeze", lambda: is_frozen(frozen))
        with post.relay() as other:
            wait_for("the rest to be answered", lambda: post.answers()[BATCH:].count(None) == 0)
            assert post.answers()[:BATCH] == [None] * BATCH
            frozen.kill()
            wait_for("all to be answered", lambda: None not in post.answers())
            assert other.poll() is None

    assert sorted(post.answers()) == sorted(run.run for run in post.runs())
    assert (len(set(post.answers())), post.submitted()) == (BATCH + 6, BATCH + 6)


def test_a_relay_that_wakes_changes_nothing(post: Post) -> None:
    """A relay that stood still while the database gave its requests away says the same when it wakes, or nothing."""
    post.ask(3)

    with post.relay("handed_in", "SIGSTOP") as frozen:
        wait_for("the first to freeze", lambda: is_frozen(frozen))
        post.application.execute(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stepback_relay'"
            " AND datname = current_database()",
        )
        with post.relay():
            wait_for("all to be answered", lambda: None not in post.answers())
            before = post.application.rows()
            frozen.send_signal(signal.SIGCONT)
            wait_for("it to come back", lambda: post.log.read_text(encoding="utf-8").count("outbox_waits") == 1)

    assert post.application.rows() == before
    assert len(post.runs()) == 3
