"""The demo, once, as `make demo` runs it: every claim that it makes is looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.commandline import CommandLine
from tests.fix_tools import Tool

_MIGRATIONS = {
    "add_health_metrics_table",
    "add_forecast_results_table",
    "add_quickbooks_connections",
    "add_health_alerts",
    "add_business_ai_columns",
}


def _left_in(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])]


@pytest.mark.timeout(180)
def test_whole_story(bare: CommandLine, tmp_path: Path) -> None:
    """Five rollbacks, then all at once, and back, on 52,800 rows, in 60 s; nothing is left behind but one document."""
    # Configured servers are not touched; nothing answers there.
    elsewhere = bare.but(STEPBACK_LEDGER_URL="postgresql://127.0.0.1:1/none", TMPDIR=str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    began = time.monotonic()

    done = elsewhere.run("demo", "--json")

    facts: dict[str, Any] = done.document
    assert (done.code, facts["ok"]) == (0, True), facts["checks"]
    assert time.monotonic() - began < 60
    assert {run["migration"]: run["state"] for run in facts["rollbacks"]} == dict.fromkeys(_MIGRATIONS, "completed")
    assert all(run["preserved"] and run["blocked_seconds"] is not None for run in facts["rollbacks"])
    assert (facts["recovery"]["kind"], facts["recovery"]["state"]) == ("recover", "completed")
    assert [line["status"] for line in facts["composite"]["summary"][1:]] == ["SUCCESS"] * 9
    assert facts["composite_recovery"]["subject_run"] == facts["composite"]["run"]
    assert facts["selective"]["state"] == "completed"
    assert 0 < int(facts["selective"]["result"]["report"]["total_recovered"]) < facts["sample"]["health_metrics"]
    assert facts["sample"]["businesses"] >= 2_000
    assert facts["sample"]["health_metrics"] >= 50_000
    assert facts["untouched"]["price_alerts"] is True
    assert len(facts["untouched"]) == 6
    assert all(facts["untouched"].values())
    assert (facts["validation"]["kind"], facts["validation"]["ok"]) == ("validate", True)
    assert len(facts["validation"]["checks"]) > 30
    assert facts["audit"]["ok"] is True
    assert any(check["check"].endswith("none is left running") and check["ok"] for check in facts["checks"])
    assert "run 1 (rollback add_business_ai_columns): completed" in done.err
    assert list((tmp_path / "temporary").iterdir()) == []
    assert _left_in(tmp_path / "temporary") == []
    assert not (tmp_path / "data").exists()


def test_interrupted(bare: CommandLine, tmp_path: Path) -> None:
    """Stopped in the middle, it takes its servers and its folder along."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepback", "demo"],
        cwd=bare.folder,
        env=bare.but(TMPDIR=str(temporary)).environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "PostgreSQL 18 runs" not in process.stdout.readline():
        assert process.poll() is None

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert list(temporary.iterdir()) == []
    assert _left_in(temporary) == []


def test_folder_in_use(bare: CommandLine, tmp_path: Path) -> None:
    """The demo does not tell its story in a folder that holds something."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()

    done = bare.run("demo", "--data", str(tmp_path / "mine"), "--json")

    assert (done.code, json.loads(done.out)["error"]["code"]) == (2, "bad_configuration")


@pytest.mark.timeout(180)
def test_chapter_of_an_alert(bare: CommandLine, alertmanager: Tool, tmp_path: Path) -> None:
    """A worker freezes in mid-run: somebody is paged once, and the page is taken back when the run has gone on."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    here = bare.but(TMPDIR=str(temporary), PATH=f"{Path(alertmanager.path).parent}:{os.environ['PATH']}")

    done = here.run("demo", "--chapter", "alert", "--json")

    facts: dict[str, Any] = done.document
    assert (done.code, facts["ok"]) == (0, True), (
        facts["checks"],
        facts["run"]["state"],
        facts["run"]["error"],
        done.err,
    )
    assert facts["page"]["labels"]["alertname"] == "StepbackRunStuck"
    assert facts["run"]["state"] == "completed"
    assert facts["paged_after_seconds"] < 30
    assert list(temporary.iterdir()) == []
    assert _left_in(temporary) == []


def test_chapter_of_an_alert_without_alertmanager(bare: CommandLine, tmp_path: Path) -> None:
    """Where it is not installed the chapter says what to install, and starts nothing."""
    done = bare.but(PATH=str(tmp_path)).run("demo", "--chapter", "alert")

    assert done.code != 0
    assert "prometheus-alertmanager" in done.err
    assert done.out == ""
