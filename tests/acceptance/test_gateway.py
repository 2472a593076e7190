"""The gateway from outside: with curl, a signature and nothing of ours, from a command to a completed run."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.gateway.documents import PlanDocument
from tests.acceptance.commandline import CommandLine
from tests.acceptance.gateway import ISSUER, Outsider, gateway, give_rights
from tests.fix_tools import Tool, find


@pytest.fixture
def trusting(cli: CommandLine) -> CommandLine:
    """Give a command line whose configuration names an outsider."""
    give_rights(cli)
    return cli


@pytest.fixture
def outsider(trusting: CommandLine, tmp_path: Path) -> Iterator[Outsider]:
    """Give an outsider of a gateway that runs."""
    with gateway(trusting, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def curl() -> Tool:
    """Give curl."""
    return find("curl", package="curl")


def test_a_service_rolls_back_with_curl(
    trusting: CommandLine, outsider: Outsider, worker: None, curl: Tool, tmp_path: Path
) -> None:
    """POST a signed rollback, wait, and have the completed run; then read it, its events, and the next dry run."""
    del worker
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"envelope": outsider.rollback("add_health_alerts")}), encoding="utf-8")
    bearer = f"Authorization: Bearer {outsider.token()}"

    answer = json.loads(
        curl.run("-sS", "-H", "Content-Type: application/json", "-H", "Prefer: wait=60", "-d", f"@{body}",
                 f"{outsider.url}/v1/commands")
    )  # fmt: skip
    shown = json.loads(curl.run("-sS", "-H", bearer, f"{outsider.url}/v1/runs/{answer['run']}"))
    events = curl.run("-sSN", "-H", bearer, f"{outsider.url}/v1/runs/{answer['run']}/events")
    plan = json.loads(curl.run("-sS", "-H", bearer, f"{outsider.url}/v1/targets/goodbuy_hq/plans/add_health_alerts"))

    assert PlanDocument.model_validate(plan).target == "goodbuy_hq"
    assert (answer["state"], answer["requested_by"]) == ("completed", ISSUER)
    assert shown == answer == trusting.succeed("show", str(answer["run"]))
    assert events.count("\nid: ") >= 5
    assert '"type": "stepback.run_completed"' in events
    assert [refusal["code"] for refusal in plan["refusals"]] == ["nothing_to_roll_back"]


def test_the_log_holds_neither_tokens_nor_queries(outsider: Outsider, curl: Tool, tmp_path: Path) -> None:
    """Not even of requests that fail; and it says that only this machine is served."""
    token = outsider.token()
    for url in ("/v1/runs?target=canary-7f3d9a", "/canary-7f3d9a", "/v1/runs/0"):
        curl.run("-sS", "-H", f"Authorization: Bearer {token}", f"{outsider.url}{url}")

    log = (tmp_path / "gateway.log").read_text(encoding="utf-8")
    assert token not in log
    assert "canary-7f3d9a" not in log
    assert "this machine only" in log


def test_metrics_are_served_apart(outsider: Outsider, curl: Tool, tmp_path: Path) -> None:
    """On a port of their own: not where strangers come; with every route from the start."""
    (port,) = re.findall(r'"metrics_port": (\d+)', (tmp_path / "gateway.log").read_text(encoding="utf-8"))

    metrics = curl.run("-sS", f"http://127.0.0.1:{port}/metrics")
    there = curl.run("-sS", f"{outsider.url}/metrics")

    assert 'stepback_gateway_requests_total{route="/v1/commands",status="429"} 0.0' in metrics
    assert "stepback_gateway_requests_total" not in there


def test_a_port_that_is_taken_is_said(trusting: CommandLine) -> None:
    """Exit code 2, and what to configure."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = trusting.but(STEPBACK_GATEWAY_PORT=str(taken.getsockname()[1])).run("gateway")

    assert done.code == 2
    assert "the gateway cannot listen on 127.0.0.1:" in done.err
    assert "[gateway] host and port" in done.err
