"""Reading by HTTP: with a signed token, about targets that its issuer may see, and as it happens."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dramatiq.brokers.redis import RedisBroker
from prometheus_client import generate_latest
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.keys import revoke_key
from ledger.model import Kind
from producers.refusals import REGISTRY
from tests.integration.producers.gateway.serving import (
    AUDITOR,
    BILLING,
    MIGRATION,
    SETTINGS,
    STRANGER,
    Site,
    code,
    serving,
)
from tests.signing import key_of

CANARY = "canary-7f3d9a"


def test_a_run_is_shown_as_the_command_line_does(site: Site) -> None:
    """The document of `stepback show --json`."""
    run = site.new_run()

    document = site.get(f"/v1/runs/{run}").json()

    assert (document["run"], document["state"], document["requested_by"]) == (run, "queued", BILLING)
    assert {"command_id", "kind", "target", "migration", "steps", "preserved", "error"} <= document.keys()


def test_runs_are_listed_page_by_page(site: Site) -> None:
    """The newest first, of one target or in one state; the next page begins before the last one's number."""
    numbers = [site.new_run(target="shop_eu" if place == 1 else "shop") for place in range(5)]
    site.cancel(numbers[3])

    def listed(**query: Any) -> list[int]:  # noqa: ANN401 - any parameter
        return [run["run"] for run in site.get("/v1/runs", params=query).json()["runs"]]

    assert listed() == numbers[::-1]
    assert listed(limit=2) == numbers[:2:-1]
    assert listed(limit=2, before=numbers[3]) == numbers[2:0:-1]
    assert listed(target="shop_eu") == [numbers[1]]
    assert listed(state="cancelled") == [numbers[3]]
    assert listed(target="nowhere") == []


def test_a_reader_sees_their_own_targets_only(site: Site) -> None:
    """All else is not there: not in lists, not by number, not by name; a right to approve is one to see."""
    theirs = site.new_run(AUDITOR, kind=Kind.VALIDATE, target="vault", migration=None)
    ours = site.new_run()

    assert [run["run"] for run in site.get("/v1/runs").json()["runs"]] == [ours]
    assert site.get("/v1/runs", params={"target": "vault"}).json() == {"runs": []}
    for path, word in (
        (f"/v1/runs/{theirs}", "unknown_run"),
        (f"/v1/runs/{theirs}/events", "unknown_run"),
        (f"/v1/runs/{ours + 1000}", "unknown_run"),
        (f"/v1/targets/vault/plans/{MIGRATION}", "unknown_target"),
        (f"/v1/targets/nowhere/plans/{MIGRATION}", "unknown_target"),
    ):
        assert code(site.get(path), 404) == word
    assert site.get(f"/v1/runs/{theirs}").json() == site.get(f"/v1/runs/{ours + 1000}").json()
    assert site.get(f"/v1/runs/{theirs}", AUDITOR).status_code == 200
    assert site.get("/v1/runs", STRANGER).json() == {"runs": []}


def test_a_dry_run_is_shown(site: Site) -> None:
    """What a rollback would do, where the reader may see the target and there is a plan."""
    shown = site.get(f"/v1/targets/shop/plans/{MIGRATION}")
    unknown = site.get("/v1/targets/shop/plans/no_such")
    improper = site.get("/v1/targets/shop/plans/a..b")

    assert (shown.status_code, shown.json()["migration"]) == (200, MIGRATION)
    assert code(unknown, 404) == "unknown_migration"
    assert "no_such" not in unknown.text
    assert code(improper, 422) == "bad_request"


@pytest.mark.parametrize(
    "fields",
    [
        {"not_after": datetime.now(UTC) - timedelta(seconds=1), "issued_at": datetime.now(UTC) - timedelta(minutes=5)},
        {"not_after": datetime.now(UTC) + timedelta(hours=1)},
        {"issued_at": datetime.now(UTC) + timedelta(minutes=8), "not_after": datetime.now(UTC) + timedelta(minutes=9)},
        {"audience": str(uuid4())},
    ],
)
def test_a_token_counts_for_minutes_and_for_here(site: Site, fields: dict[str, Any]) -> None:
    """One that is over, that lasts too long, that comes too early or is meant for elsewhere is worth nothing."""
    answer = site.client.get("/v1/runs", headers=site.bearer(**fields))

    assert code(answer, 401) in {"bad_signature", "bad_request", "expired"}
    assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("header", [None, "", "Bearer", f"Bearer {CANARY}", f"Basic {CANARY}", f"Bearer a.{CANARY}.c"])
def test_without_a_token_nothing_is_read(site: Site, header: str | None) -> None:
    """Whatever stands in its place, and no answer repeats it."""
    for path in ("/v1/runs", "/v1/runs/1", "/v1/runs/1/events", f"/v1/targets/shop/plans/{MIGRATION}"):
        answer = site.client.get(path, headers={} if header is None else {"Authorization": header})

        assert code(answer, 401) == "bad_signature"
        assert CANARY not in answer.text


def test_a_command_is_no_token(site: Site) -> None:
    """What was signed for one purpose serves no other."""
    answer = site.client.get("/v1/runs", headers={"Authorization": f"Bearer {site.rollback()}"})

    assert code(answer, 401) == "bad_request"


def test_a_revoked_key_reads_nothing_any_more(site: Site) -> None:
    """From the very next request on."""
    headers = site.bearer(AUDITOR)
    before = site.client.get("/v1/runs", headers=headers)
    with transaction(site.engine) as conn:
        revoke_key(conn, key_of(AUDITOR).key_id, actor="test")

    after = site.client.get("/v1/runs", headers=headers)

    assert before.status_code == 200
    assert code(after, 401) == "bad_signature"


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "before=0", f"state={CANARY}"])
def test_parameters_that_mean_nothing_are_refused(site: Site, query: str) -> None:
    """By name, and without their values."""
    answer = site.get(f"/v1/runs?{query}")

    assert code(answer, 422) == "bad_request"
    assert query.partition("=")[0] in answer.json()["detail"]
    assert CANARY not in answer.text


def test_what_is_not_there_is_a_problem_too(site: Site) -> None:
    """Other paths and other methods."""
    assert code(site.client.get(f"/{CANARY}"), 404) == "not_found"
    wrong = site.client.delete("/v1/runs")
    assert code(wrong, 405) == "method_not_allowed"
    assert "GET" in wrong.headers["allow"]


def test_probes_need_no_token(site: Site) -> None:
    """Which installation this is, that it lives, that it can work, and what it does."""
    assert site.client.get("/v1/installation").json() == {"installation": str(site.installation)}
    assert site.client.get("/healthz").json() == {"status": "ok"}
    assert site.client.get("/readyz").json() == {"status": "ok"}
    assert site.client.get("/openapi.json").json()["info"]["title"] == "Stepback gateway"
    assert site.client.get("/docs").status_code == 404


# -- events -----------------------------------------------------------------


def _events(text: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the events of a stream: number and CloudEvent."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), json.loads(fields["data"])))
    return found


def test_events_come_as_they_happen_and_end_with_the_run(site: Site) -> None:
    """Each a CloudEvent under its number; what happened before comes first."""
    run = site.new_run()
    submitted = threading.Event()
    lines: list[str] = []

    def follow() -> None:
        with site.client.stream("GET", f"/v1/runs/{run}/events", headers=site.bearer()) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                lines.append(line)
                if "command_submitted" in line:
                    submitted.set()

    with ThreadPoolExecutor(1) as other:
        following = other.submit(follow)
        assert submitted.wait(10)
        site.cancel(run)
        following.result(20)

    events = _events("\n".join(lines))
    assert [event["type"] for _, event in events] == ["stepback.command_submitted", "stepback.run_cancelled"]
    assert [event["data"]["seq"] for _, event in events] == [seq for seq, _ in events]
    assert {event["specversion"] for _, event in events} == {"1.0"}


def test_a_stream_goes_on_where_it_was_cut(site: Site) -> None:
    """After Last-Event-ID; where nothing is left the answer says not to come back."""
    run = site.new_run()
    site.cancel(run)
    all_of_them = _events(site.get(f"/v1/runs/{run}/events").text)
    (first, _), *rest = all_of_them

    later = site.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": str(first)})
    nothing = site.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": str(all_of_them[-1][0])})
    improper = site.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": CANARY})

    assert _events(later.text) == rest
    assert (nothing.status_code, nothing.text) == (204, "")
    assert code(improper, 422) == "bad_request"


def test_a_stream_ends_with_its_token(site: Site) -> None:
    """Whoever may read for a second more reads for a second more."""
    run = site.new_run()

    headers = site.bearer(not_after=datetime.now(UTC) + timedelta(seconds=1.5))
    text = site.client.get(f"/v1/runs/{run}/events", headers=headers).text

    assert [event["type"] for _, event in _events(text)] == ["stepback.command_submitted"]


def test_many_follow_at_the_price_of_one_question(site: Site) -> None:
    """Streams and waits of one moment share the look at the ledger, and all of them hear."""
    run = site.new_run()
    envelope = site.rollback()
    awaited = site.submit(envelope).json()["run"]

    with ThreadPoolExecutor(24) as many:
        streams = [many.submit(site.get, f"/v1/runs/{run}/events") for _ in range(12)]
        waits = [many.submit(site.submit, envelope, Prefer="wait=20") for _ in range(12)]
        while len(site.gateway.watch._waiting) < 24:
            pass
        site.cancel(run)
        site.cancel(awaited)
        texts = [each.result(20).text for each in streams]
        answers = [each.result(20) for each in waits]

    assert {len(_events(text)) for text in texts} == {2}
    assert {answer.status_code for answer in answers} == {200}


def test_whoever_waits_is_let_go_when_the_gateway_ends(ledger_engine: Engine, broker: RedisBroker) -> None:
    """Streams end, waits are answered as accepted; nothing is cut off."""
    with ThreadPoolExecutor(2) as many:
        with serving(ledger_engine, broker) as site:
            run = site.new_run()
            client = httpx.Client(base_url=site.url, timeout=20)
            stream = many.submit(client.get, f"/v1/runs/{run}/events", headers=site.bearer())
            body = {"envelope": site.rollback()}
            waiting = many.submit(client.post, "/v1/commands", json=body, headers={"Prefer": "wait=60"})
            while len(site.gateway.watch._waiting) < 2:
                pass
        assert stream.result(5).status_code == 200
        assert waiting.result(5).status_code == 202
        client.close()


def test_requests_are_counted_by_route_and_status(site: Site) -> None:
    """Under the route's template, whatever the path was."""
    run = site.new_run()
    site.get(f"/v1/runs/{run}")
    site.client.get(f"/{CANARY}")

    text = generate_latest(REGISTRY).decode()

    assert 'stepback_gateway_requests_total{route="/v1/runs/{run}",status="200"}' in text
    assert 'stepback_gateway_requests_total{route="/v1/commands",status="202"}' in text
    assert 'stepback_gateway_requests_total{route="none",status="404"}' in text
    assert CANARY not in text


def test_a_reader_that_asks_too_often_has_to_wait(ledger_engine: Engine, broker: RedisBroker) -> None:
    """429 with the seconds."""
    slow = SETTINGS.gateway.model_copy(update={"max_per_second": 2})
    with serving(ledger_engine, broker, settings=SETTINGS.model_copy(update={"gateway": slow})) as site:
        answers = [site.get("/v1/runs") for _ in range(6)]

    assert answers[0].status_code == 200
    assert code(answers[-1], 429) == "too_many_requests"
