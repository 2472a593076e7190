"""Real worker and monitor processes: who lives is seen, a canary goes the whole way, what they show can be scraped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.model import State
from ledger.watching import Figures, figures
from tests.faults.processes import Station, wait_for
from tests.fix_tools import Tool
from tests.harness import completed


def _figures(engine: Engine) -> Figures:
    with transaction(engine) as conn:
        return figures(conn)


# -- workers --------------------------------------------------------------------


def test_a_worker_that_was_killed_counts_as_dead_soon(station: Station, ledger_engine: Engine) -> None:
    """It has said nothing; the time for which it said that it lives is up."""
    with station.worker() as process:
        station.port(process.pid)
        wait_for("the worker to say that it lives", lambda: _figures(ledger_engine).workers_alive == 1)
        # Longer than one beat is believed: it says so again and again.
        time.sleep(1.5)
        alive = _figures(ledger_engine).workers_alive

        process.kill()
        wait_for("the worker to count as dead", lambda: _figures(ledger_engine).workers_alive == 0, seconds=5)

    assert alive == 1


def test_a_worker_that_was_told_to_end_is_gone(
    station: Station, ledger_engine: Engine, superuser: psycopg.Connection
) -> None:
    """At once, with its row."""
    with station.worker() as process:
        station.port(process.pid)
        wait_for("the worker to say that it lives", lambda: _figures(ledger_engine).workers_alive == 1)
        process.terminate()
        process.wait(timeout=30)

    assert superuser.execute("SELECT * FROM ledger.workers").fetchall() == []


# -- monitors -------------------------------------------------------------------


@dataclass(frozen=True)
class Monitor:
    """A running monitor."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, event: str) -> list[dict[str, object]]:
        """Return the lines of its log about an event."""
        lines = []
        for line in self.log.read_bytes().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if line["event"] == event]

    def metrics(self) -> str:
        """Return what it shows to Prometheus."""
        return _get(int(str(self.said("monitor_started")[0]["metrics_port"])))


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@contextmanager
def _monitor(station: Station, folder: Path, **settings: object) -> Iterator[Monitor]:
    """Keep a monitor running; it has to end by itself, and soon, when it is told to."""
    given = {f"STEPBACK_MONITOR_{key.upper()}": str(value) for key, value in {"metrics_port": 0, **settings}.items()}
    environ = {**station.environment(), "STEPBACK_DATA": str(folder / "data"), **given}
    log = folder / "monitor.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "stepback", "monitor"], env=environ, stderr=sink, stdout=sink)
    monitor = Monitor(process, log)
    try:
        wait_for("the monitor to start", lambda: bool(monitor.said("monitor_started")) or process.poll() is not None)
        yield monitor
        process.terminate()
        process.wait(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log.read_text(encoding="utf-8")


def test_a_canary_goes_the_whole_way(station: Station, ledger_engine: Engine, tmp_path: Path) -> None:
    """Signed, recorded, rung, claimed, completed; people's runs keep their numbers, and no target is touched."""
    with station.worker() as process, _monitor(station, tmp_path, canary_seconds=0.5) as monitor:
        station.port(process.pid)
        wait_for("canaries to get through", lambda: _figures(ledger_engine).runs.get(("canary", "completed"), 0) >= 3)
        first = station.engine.find(-1)
        text = monitor.metrics()
        # Now a person's.
        command = station.engine.command()
        run = station.record(command)
        station.ring(command.command_id)
        done = station.ended(run)

    assert (run, completed(done).run) == (1, 1)
    assert (first.state, first.target, first.steps, first.preserved) == (State.COMPLETED, "canary", (), ())
    assert [event.type for event in station.engine.events(first)] == [
        "command_submitted",
        "run_claimed",
        "run_completed",
    ]
    assert "\nstepback_canary_success_timestamp_seconds " in text
    assert station.engine.query("SELECT DISTINCT run FROM emergency_backup.fence") == [{"run": 1}]


def test_a_monitor_ends_when_it_is_told_to(station: Station, tmp_path: Path) -> None:
    """Also in the middle of a long pause, by SIGTERM or Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with _monitor(station, tmp_path, scan_seconds=300, canary_seconds=0) as monitor:
            began = time.monotonic()
            monitor.process.send_signal(number)
            monitor.process.wait(timeout=15)
        assert time.monotonic() - began < 10
        assert monitor.said("monitor_stopped")


def test_a_monitor_goes_on_without_redis(station: Station, ledger_engine: Engine, tmp_path: Path) -> None:
    """It looks through the ledger all the same; that the queue is away is shown, and its canary waits there."""
    away = Station(station.engine, station.ledger_url, "redis://127.0.0.1:1", station.namespace, station.log)

    with _monitor(away, tmp_path, canary_seconds=0.5, scan_seconds=0.2) as monitor:
        wait_for("a canary to be put off", lambda: bool(monitor.said("canary_failed")))
        text = monitor.metrics()

    assert 'stepback_collector_up{part="queue"} 0.0' in text
    assert 'stepback_collector_up{part="ledger"} 1.0' in text
    assert _figures(ledger_engine).runs["canary", "queued"] >= 1


# -- what is scraped --------------------------------------------------------------


def test_promtool_finds_nothing_wrong(station: Station, promtool: Tool, tmp_path: Path) -> None:
    """With what a monitor and a worker show after a run, a canary and a scan."""
    command = station.engine.command()
    with station.worker() as process, _monitor(station, tmp_path, canary_seconds=0.5) as monitor:
        station.port(process.pid)
        run = station.record(command)
        station.ring(command.command_id)
        station.ended(run)
        shown = {"monitor": monitor.metrics(), "worker": _get(station.port(process.pid))}

    for who, text in shown.items():
        done = subprocess.run(
            [promtool.path, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), who
