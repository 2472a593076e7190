"""up: servers, schemas, sample, a worker and a monitor in the foreground, on data that stays."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.commandline import PATIENCE_SECONDS, CommandLine, said, wait_for
from tests.acceptance.gateway import url_in
from tests.fix_outbox import Application

_TARGET = ("--target", "goodbuy_hq")


@pytest.fixture
def embedded(bare: CommandLine, data_folder: Path) -> CommandLine:
    """Give a command line with nothing configured but the data folder."""
    return bare.but(
        STEPBACK_DATA=str(data_folder),
        STEPBACK_WORKER_METRICS_PORT="0",
        STEPBACK_MONITOR_METRICS_PORT="0",
        STEPBACK_GATEWAY_PORT="0",
        STEPBACK_GATEWAY_METRICS_PORT="0",
    )


def _processes_of(data: Path) -> list[psutil.Process]:
    """Return every process that works on a data folder: servers, workers, `up` itself."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environ = process.info["cmdline"] or (), process.info["environ"] or {}
        if any(str(data) in word for word in command) or environ.get("STEPBACK_DATA") == str(data):
            found.append(process)
    return found


def _started(log: Path, what: str = "worker") -> list[int]:
    return [int(pid) for pid in re.findall(rf"{what} started, process (\d+)", log.read_text(encoding="utf-8"))]


def _has_ended(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    return lambda: process.poll() is not None


@pytest.mark.timeout(300)
def test_up_from_nothing(embedded: CommandLine, data_folder: Path, tmp_path: Path) -> None:
    """From nothing: sample, plans, a worker and a monitor that are started again when they die; Ctrl-C ends all; the
    data stays.
    """
    log, second, third = (tmp_path / name for name in ("first.log", "second.log", "third.log"))

    with embedded.running("up", log=log) as up:
        wait_for("the worker", said(log, "worker_started"))
        rolled = embedded.succeed("rollback", "add_health_alerts", *_TARGET, "--wait")
        psutil.Process(_started(log)[0]).kill()
        wait_for("another worker", lambda: len(_started(log)) == 2)
        wait_for("the monitor", said(log, "monitor_started"))
        psutil.Process(_started(log, "monitor")[0]).kill()
        wait_for("another monitor", lambda: len(_started(log, "monitor")) == 2)
        wait_for("it to watch", lambda: log.read_text(encoding="utf-8").count("monitor_started") == 2)
        back = embedded.succeed("recover", str(rolled["run"]), "--wait")
        (target,) = embedded.succeed("targets")
        with embedded.running("up", log=second) as other:
            wait_for("the second `up` to give way", _has_ended(other))
        up.send_signal(signal.SIGINT)
        up.send_signal(signal.SIGTERM)
        assert up.wait(PATIENCE_SECONDS) == 0

    assert _processes_of(data_folder) == []
    assert (rolled["state"], back["state"]) == ("completed", "completed")
    assert (target["plans"], target["quarantine"]["schemas"]) == (8, 0)
    assert other.returncode == 2
    assert "another `stepback up`" in second.read_text(encoding="utf-8")
    assert "Traceback" not in log.read_text(encoding="utf-8")

    with embedded.running("up", log=third) as up:
        wait_for("the worker", said(third, "worker_started"))
        assert [run["run"] for run in embedded.succeed("runs")] == [2, 1]
    assert up.returncode == 0
    assert "creating the sample" not in third.read_text(encoding="utf-8")
    assert _processes_of(data_folder) == []


@pytest.mark.timeout(300)
def test_no_child_outlives_a_killed_up(embedded: CommandLine, data_folder: Path, tmp_path: Path) -> None:
    """Killed outright, `up` takes worker and monitor along; the next one takes over the servers that were left."""
    log, second = tmp_path / "first.log", tmp_path / "second.log"
    with embedded.running("up", log=log) as up:
        wait_for("the worker", said(log, "worker_started"))
        wait_for("the monitor", said(log, "monitor_started"))
        up.kill()
        up.wait()

    for pid in (*_started(log), *_started(log, "monitor")):
        wait_for("the child to end", lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]  # mypy infers no type for the default
    with embedded.running("up", log=second) as up:
        wait_for("the worker", said(second, "worker_started"))
    assert up.returncode == 0
    assert _processes_of(data_folder) == []


def test_up_with_urls_starts_no_servers(
    cli: CommandLine, ledger_url: str, ledger_admin_url: str, tmp_path: Path
) -> None:
    """With URLs `up` runs a worker on them and nothing else, whether or not it may bring the ledger up to date."""
    logs = {url: tmp_path / f"{number}.log" for number, url in enumerate((ledger_url, ledger_admin_url))}

    for url, log in logs.items():
        with cli.but(STEPBACK_LEDGER_ADMIN_URL=url).running("up", log=log) as up:
            wait_for("the worker", said(log, "worker_started"))
            wait_for("the gateway", said(log, "gateway_started"))
            assert httpx.get(f"{url_in(log)}/healthz").json() == {"status": "ok"}
            children = {child.name() for child in psutil.Process(up.pid).children(recursive=True)}
        assert up.returncode == 0
        assert children == {Path(sys.executable).resolve().name} or len(children) == 1

    assert "ledger as it is: not brought up to date" in logs[ledger_url].read_text(encoding="utf-8")
    assert "up to date" in logs[ledger_admin_url].read_text(encoding="utf-8")
    assert not any(path.is_dir() and path.name in {"postgres", "redis"} for path in (tmp_path / "data").iterdir())


def test_up_opens_the_doors_that_are_configured(
    cli: CommandLine, application: Application, redis_namespace: str, tmp_path: Path
) -> None:
    """The outbox where one is configured and the stream where it is enabled, and `up` says so; else neither."""
    logs = {name: tmp_path / f"{name}.log" for name in ("without", "with")}
    stream = f"{redis_namespace}.commands"
    line = {
        "without": cli,
        "with": cli.but(
            STEPBACK_STREAM_ENABLED="true",
            STEPBACK_STREAM_NAME=stream,
            STEPBACK_OUTBOXES__SHOP__URL=application.url("stepback_relay"),
        ),
    }

    for name, log in logs.items():
        with line[name].running("up", log=log) as up:
            for command in ("worker", "gateway", *(("outbox", "stream") if name == "with" else ())):
                wait_for(f"the {command}", said(log, f"{command}_started"))
        assert up.returncode == 0

    told = {name: log.read_text(encoding="utf-8") for name, log in logs.items()}
    assert "outboxes: none configured" in told["without"]
    assert "Redis stream: not read" in told["without"]
    assert "outboxes: shop" in told["with"]
    assert f"Redis stream: {stream}" in told["with"]
    # Each ended when it was told to, and had been started once.
    for door in ("outbox", "stream"):
        assert (_started(logs["without"], door), len(_started(logs["with"], door))) == ([], 1)
        assert f"{door}_stopped" in told["with"]


def test_up_gives_up_on_bad_configuration(cli: CommandLine, tmp_path: Path) -> None:
    """A worker that cannot start as it is configured is not started over and over: exit code 2, as it said."""
    log = tmp_path / "up.log"

    with cli.but(STEPBACK_WORKER_METRICS_HOST="192.0.2.1").running("up", log=log) as up:
        wait_for("`up` to give up", _has_ended(up))

    assert up.returncode == 2
    assert "bad_configuration: metrics cannot be served" in log.read_text(encoding="utf-8")
