"""Runs that get stuck or fail, what becomes of them, and that nobody is told of it twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from ledger import runs
from ledger.database import transaction
from ledger.model import Command, State
from tests.alerting.prometheus import hastened
from tests.alerting.receivers import Receiver
from tests.faults.processes import Station, wait_for
from tests.harness import completed, ended

#: Where rules and routes come from.
DASHBOARDS = Path(__file__).parent.parent.parent / "dashboards"

#: Several rounds of monitor and Alertmanager, and more than an alert lives that says no end (`resolve_timeout`).
SILENCE_SECONDS = 5.0

STUCK = "StepbackRunStuck"
FAILED = "StepbackRunFailed"


def abandoned(station: Station) -> tuple[str, Command]:
    """Record a run and take it as a worker that is never heard of again; return its id as labels have it."""
    command = station.engine.command()
    run = station.record(command)
    assert runs.claim(station.engine.ledger, command.command_id, worker="lost", lease_seconds=1) is not None
    return str(run), command


def taken_over(station: Station, command: Command) -> None:
    """Carry an abandoned run out, as the next worker does."""
    wait_for("the lease to lapse", lambda: station.engine.deliver(command.command_id), 10)
    with transaction(station.engine.ledger) as conn:
        completed(runs.find_by_command(conn, command.command_id))


def failed(station: Station) -> str:
    """Let a run fail at a gate; return its id as labels have it."""
    station.engine.plan("DROP TABLE lid;", verify="SELECT false;")
    run = station.engine.rollback()
    assert run.state is State.FAILED, ended(run)
    return str(run.run)


def acknowledge(station: Station, run: str) -> None:
    """Say that one knows of a run, as the person who was paged does."""
    command = [sys.executable, "-m", "stepback", "ack", run, "--reason", "the gate is being repaired"]
    done = subprocess.run(command, env=station.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def rules_in_a_hurry(folder: Path) -> list[Path]:
    """Copy the rules that come along to a folder, hastened."""
    return [hastened(file, folder / "rules") for file in (DASHBOARDS / "prometheus").glob("*.rules.yml")]


def stays_at_one_page(receiver: Receiver, alert: str, run: str) -> None:
    """See that nobody is paged again, and nothing is taken back."""
    time.sleep(SILENCE_SECONDS)
    assert len(receiver.pages(alert, run=run)) == 1
    assert receiver.taken("page", alert, "resolved", run=run) == []
