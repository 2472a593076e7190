"""A command line for each test, with a ledger, a Redis namespace and a target of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.commandline import CommandLine, said, wait_for
from worker.install import install
from worker.target import connect

#: The plans that come along.
PLANS = Path(__file__).parent.parent.parent / "sql" / "plans" / "goodbuy_hq"


@pytest.fixture
def bare(tmp_path: Path) -> CommandLine:
    """Give a command line with nothing configured."""
    folder = tmp_path / "here"
    folder.mkdir()
    return CommandLine(folder, {"STEPBACK_DATA": str(tmp_path / "data")})


@pytest.fixture
def cli(bare: CommandLine, ledger_url: str, redis_url: str, redis_namespace: str, target_url: str) -> CommandLine:
    """Give a command line whose ledger and target are installed, with the small sample and its plans."""
    session = connect(target_url, "test")
    install(session)
    session.close()
    return bare.but(
        STEPBACK_LEDGER_URL=ledger_url,
        STEPBACK_REDIS_URL=redis_url,
        STEPBACK_REDIS_NAMESPACE=redis_namespace,
        STEPBACK_TARGETS__GOODBUY_HQ__URL=target_url,
        STEPBACK_TARGETS__GOODBUY_HQ__PLANS=str(PLANS),
        STEPBACK_WORKER_METRICS_PORT="0",
        STEPBACK_MONITOR_METRICS_PORT="0",
        STEPBACK_GATEWAY_PORT="0",
        STEPBACK_GATEWAY_METRICS_PORT="0",
        STEPBACK_WORKER_RECONCILE_SECONDS="0.2",
        STEPBACK_TRUST_LOCAL_OPERATOR="all",
    )


@pytest.fixture
def worker(cli: CommandLine, tmp_path: Path) -> Iterator[None]:
    """Keep a worker process running."""
    log = tmp_path / "worker.log"
    with cli.running("worker", log=log) as process:
        wait_for("the worker to start", said(log, "worker_started"))
        yield
    assert process.returncode == 0, log.read_text(encoding="utf-8")
