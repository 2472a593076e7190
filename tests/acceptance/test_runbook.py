"""The runbook: every command that it tells somebody to type is typed, and does what it is there for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.commandline import CommandLine, said, wait_for
from tests.acceptance.conftest import PLANS
from tests.runbook import Command, commands

_TARGET = ("--target", "goodbuy_hq")
#: What ends only when it is told to, with what it says once it serves.
_SERVES = {"worker": "worker_started", "monitor": "monitor_started"}
#: One that is away, one that fails at its gate, one that nothing has happened to.
_KEPT, _FAILS, _STAYS = "add_health_metrics_table", "add_quickbooks_connections", "add_forecast_results_table"
#: Whose run a command is about: what is recovered is there again, what is purged is gone for good.
_MIGRATIONS = {"ack": _FAILS, "recover": "add_health_alerts", "purge": "add_business_ai_columns"}

LINES = {command.line: command for command in commands()}


@pytest.fixture
def here(cli: CommandLine, tmp_path: Path, ledger_admin_url: str) -> CommandLine:
    """Give a command line whose plans are all right but one."""
    plans = tmp_path / "plans"
    shutil.copytree(PLANS, plans)
    (plans / _FAILS / "verify.sql").write_text("SELECT false;", encoding="utf-8")
    return cli.but(
        STEPBACK_TARGETS__GOODBUY_HQ__PLANS=str(plans),
        STEPBACK_LEDGER_ADMIN_URL=ledger_admin_url,
        STEPBACK_MONITOR_METRICS_PORT="0",
        STEPBACK_MONITOR_CANARY_SECONDS="0",
    )


@pytest.mark.timeout(600)
def test_what_the_runbook_says_can_be_typed(here: CommandLine, tmp_path: Path) -> None:
    """On a run as the page is about, every command succeeds; one worker for all of them, since it takes seconds."""
    with here.running("worker", log=tmp_path / "worker.log"):
        told = {line: _type(here, command, tmp_path) for line, command in LINES.items()}

    assert {line: said for line, said in told.items() if said is not None} == {}


def _type(here: CommandLine, command: Command, folder: Path) -> str | None:
    """Type a command; return what it said if it did not succeed."""
    words = _words(here, command)
    if words[0] in _SERVES:
        log = folder / "served.log"
        with here.running(*words, log=log) as process:
            wait_for(f"the {words[0]}", said(log, _SERVES[words[0]]))
        return None if process.returncode == 0 else log.read_text(encoding="utf-8")
    done = here.run(*words)
    return None if done.code == 0 and "Traceback" not in done.err else f"{done.code}: {done.out}{done.err}"


def _words(here: CommandLine, command: Command) -> list[str]:
    """Put a run in the place of RUN, of the kind that the command is for."""
    verb = command.line.split()[1]
    run = _run(here, _MIGRATIONS.get(verb, _KEPT)) if "RUN" in command.line else "0"
    _, *words = command.words(RUN=run, TARGET="goodbuy_hq", MIGRATION=_STAYS)
    return words


def _run(here: CommandLine, migration: str) -> str:
    """Return a run of a migration that ended as it does: a new one, unless it is away already."""
    known = [run for run in here.succeed("runs") if (run["migration"], run["kind"]) == (migration, "rollback")]
    if migration == _KEPT and known:
        return str(known[0]["run"])
    done = here.run("rollback", migration, *_TARGET, "--wait", "--json")
    return str(done.document["run"])
