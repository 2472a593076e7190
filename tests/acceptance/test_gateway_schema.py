"""The OpenAPI document is true: whatever a fuzzer makes of it, the gateway answers as the document says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from ledger.statements import Cancellation
from tests.acceptance.commandline import CommandLine
from tests.acceptance.gateway import Outsider, gateway, give_rights


@pytest.mark.timeout(300)
def test_a_fuzzer_finds_nothing(cli: CommandLine, tmp_path: Path) -> None:
    """No undocumented status, header, media type or document, no 500, nothing read without a token."""
    give_rights(cli)
    with gateway(cli.but(STEPBACK_GATEWAY_MAX_PER_SECOND="100000"), tmp_path) as outsider:
        _have_an_ended_run(outsider)
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{outsider.url}/openapi.json"),
                *("--header", f"Authorization: Bearer {outsider.token()}"),
                *("--checks", "all", "--max-examples", "8", "--seed", "1", "--max-failures", "5"),
                *("--request-timeout", "30", "--no-color"),
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def _have_an_ended_run(outsider: Outsider) -> None:
    """Have run 1, which the fuzzer asks for first, and see it ended: its stream of events ends as well."""
    request = outsider.rollback("add_health_alerts")
    accepted = httpx.post(f"{outsider.url}/v1/commands", json={"envelope": request}).json()
    about = {"command_id": UUID(accepted["command_id"]), "run": accepted["run"], "target": "goodbuy_hq"}
    envelope = outsider.signed(Cancellation, **about, reason="not wanted")
    cancelled = httpx.post(f"{outsider.url}/v1/runs/{accepted['run']}/cancel", json={"envelope": envelope})
    assert (accepted["run"], cancelled.json()["state"]) == (1, "cancelled")
