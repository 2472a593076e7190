"""What a monitor tells a real Alertmanager: all that stands, and the end of what does not; nothing about others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
import pytest

from tests.alerting.alertmanager import StartAlertmanager
from worker.monitor.alertmanager import Alertmanager, Heading, Labels, connect, reason
from worker.monitor.trouble import Alert, Trouble

HEADING = Heading(UUID(int=7), "staging", "https://wiki.example/runbook", "https://grafana.example/d/1")
SINCE = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
FAILED = Trouble(
    Alert.RUN_FAILED,
    SINCE,
    "run 7 on shop: failed",
    "It was taken back as a whole.",
    "stepback show 7",
    {"target": "shop", "migration": "add_prices", "kind": "rollback", "run": "7"},
    "DBA on call",
)
BROKEN = Trouble(Alert.AUDIT_CHAIN_BROKEN, SINCE, "the audit log …", "Seen.", "stepback audit verify")


def _known(_labels: Labels) -> bool:
    return True


def _unknown(_labels: Labels) -> bool:
    return False


class Client(Protocol):
    """The way to the Alertmanager at a URL, for an installation."""

    def __call__(self, url: str, heading: Heading = HEADING) -> Alertmanager: ...  # noqa: D102 - the class says it


@pytest.fixture
def client() -> Iterator[Client]:
    """Give a function that makes one; all are closed at the end."""
    with ExitStack() as stack:

        def make(url: str, heading: Heading = HEADING) -> Alertmanager:
            (made,) = connect([url], heading)
            stack.enter_context(made.client)
            return made

        yield make


def test_an_alert_says_what_stands(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """Its labels tell it from others, its annotations are the page, and it stands since its limit was passed."""
    alertmanager = start_alertmanager()

    client(f"{alertmanager.url}/").tell([FAILED], _known)

    (held,) = alertmanager.alerts()
    assert held["labels"] == {
        "alertname": "StepbackRunFailed",
        "severity": "critical",
        "source": "stepback-monitor",
        "installation": str(UUID(int=7)),
        "environment": "staging",
        "target": "shop",
        "migration": "add_prices",
        "kind": "rollback",
        "run": "7",
    }
    assert held["annotations"] == {
        "summary": "run 7 on shop: failed",
        "description": "It was taken back as a whole.",
        "command": "stepback show 7",
        "contact": "DBA on call",
        "runbook_url": "https://wiki.example/runbook#stepbackrunfailed",
        "dashboard_url": "https://grafana.example/d/1",
    }
    assert datetime.fromisoformat(held["startsAt"]) == SINCE
    assert held["status"]["state"] in {"active", "unprocessed"}


def test_it_stands_for_long_without_being_told_again(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """A monitor that is away makes nothing well."""
    alertmanager = start_alertmanager()

    client(alertmanager.url).tell([FAILED], _known)

    (held,) = alertmanager.alerts()
    assert datetime.fromisoformat(held["endsAt"]) - datetime.now(UTC) > timedelta(hours=23)


def test_told_again_it_is_the_same_alert(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """One page for one incident: it stands since when it stood, also after another process told of it."""
    alertmanager = start_alertmanager()

    for _ in range(3):
        client(alertmanager.url).tell([FAILED, BROKEN], _known)

    assert alertmanager.names() == ["StepbackAuditChainBroken", "StepbackRunFailed"]
    assert {datetime.fromisoformat(held["startsAt"]) for held in alertmanager.alerts()} == {SINCE}


def test_what_does_not_stand_any_more_is_resolved(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """By whichever process, also one that has never told of it; the rest stands."""
    alertmanager = start_alertmanager()
    other = replace(FAILED, about={**FAILED.about, "run": "8"})
    client(alertmanager.url).tell([FAILED, other], _known)

    another = client(alertmanager.url)
    another.tell([other], _known)
    # Another monitor may just have seen it: one look says nothing.
    once = alertmanager.names()
    another.tell([other], _known)

    assert once == ["StepbackRunFailed"] * 2
    (held,) = alertmanager.alerts()
    assert held["labels"]["run"] == "8"


def test_everything_may_be_well(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """Then the last alert is resolved too, and nothing is told when there is none."""
    alertmanager = start_alertmanager()
    way = client(alertmanager.url)
    way.tell([FAILED], _known)

    for _ in range(3):
        way.tell([], _known)

    assert alertmanager.alerts() == []


def test_of_what_is_not_known_nothing_is_resolved(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """A ledger that does not answer makes nobody's incident well."""
    alertmanager = start_alertmanager()
    way = client(alertmanager.url)
    way.tell([FAILED, BROKEN], _known)

    for _ in range(3):
        way.tell([], lambda labels: labels["alertname"] == "StepbackAuditChainBroken")

    assert alertmanager.names() == ["StepbackRunFailed"]
    for _ in range(3):
        way.tell([], _unknown)
    assert alertmanager.names() == ["StepbackRunFailed"]


def test_alerts_of_others_are_left_alone(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """Those of another installation, and those that Prometheus raised."""
    alertmanager = start_alertmanager()
    client(alertmanager.url, replace(HEADING, installation=uuid4())).tell([FAILED], _known)
    theirs = {"alertname": "StepbackNoWorkers", "source": "prometheus", "installation": str(HEADING.installation)}
    httpx.post(f"{alertmanager.url}/api/v2/alerts", json=[{"labels": theirs}], trust_env=False).raise_for_status()

    way = client(alertmanager.url)
    for _ in range(3):
        way.tell([], _known)

    assert alertmanager.names() == ["StepbackNoWorkers", "StepbackRunFailed"]


def test_an_alertmanager_that_was_killed_is_told_again(start_alertmanager: StartAlertmanager, client: Client) -> None:
    """It has forgotten everything."""
    alertmanager = start_alertmanager()
    way = client(alertmanager.url)
    way.tell([FAILED], _known)
    alertmanager.kill()
    with pytest.raises(httpx.HTTPError) as failed:
        way.tell([FAILED], _known)
    assert reason(failed.value)["result"] == "unreachable"
    alertmanager.start()
    assert alertmanager.names() == []

    way.tell([FAILED], _known)

    assert alertmanager.names() == ["StepbackRunFailed"]


# -- addresses that are no Alertmanager -------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the URL of something that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_one_that_never_answers_is_given_up(silent: str, client: Client) -> None:
    """Within seconds, so that others hear in time."""
    began = datetime.now(UTC)

    with pytest.raises(httpx.HTTPError) as failed:
        client(silent).tell([FAILED], _known)

    assert reason(failed.value) == {"result": "unreachable", "reason": "ReadTimeout"}
    assert datetime.now(UTC) - began < timedelta(seconds=10)


def _answering(status: int) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"[]")

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the library's signature
            """Say nothing."""

    return Answer


def test_one_that_refuses_is_told_apart(client: Client) -> None:
    """By its status; the URL, which may hold a password, is not repeated."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _answering(500)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://ada:hunter2@127.0.0.1:{server.server_port}"

        with pytest.raises(httpx.HTTPError) as failed:
            client(url).tell([FAILED], _known)
        server.shutdown()

    assert reason(failed.value) == {"result": "rejected", "status": "500"}
