"""Commands by HTTP: a signed one is in the ledger when it is answered, all else is told as a problem."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.errors import LedgerUnreachable, StepbackError
from ledger.history import find
from ledger.model import Kind
from ledger.statements import Access, Cancellation
from producers.gateway.bodies import MOST
from producers.gateway.gateway import VIA
from producers.submit import Handed, OneWayIn, Submitted
from tests.integration.producers.gateway.serving import AUDITOR, BILLING, SETTINGS, STRANGER, Site, code, pin, serving

CANARY = "canary-7f3d9a"


def test_a_signed_command_is_in_the_ledger_when_it_is_answered(site: Site) -> None:
    """202 with the run and where to read about it; the audit log says by which door it came."""
    command_id = uuid4()

    answer = site.submit(site.rollback(command_id=command_id))

    run = answer.json()["run"]
    (event,) = site.events()
    assert answer.status_code == 202
    assert answer.json() == {"command_id": str(command_id), "run": run, "new": True}
    assert answer.headers["location"] == f"/v1/runs/{run}"
    assert (event.type, event.run, event.actor, event.detail["via"]) == ("command_submitted", run, BILLING, "gateway")


def test_the_same_envelope_again_is_the_same_run(site: Site) -> None:
    """However often it is sent, and at the same time."""
    envelope = site.rollback()

    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda _: site.submit(envelope), range(8)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run"] for answer in answers}) == 1


def test_the_same_idempotency_key_is_the_same_command(site: Site) -> None:
    """Signed anew under the same key it is known; another request under that key is a conflict."""
    first = site.submit(site.rollback(), Idempotency_Key="deploy-17")
    again = site.submit(site.rollback(), Idempotency_Key="deploy-17")
    other = site.submit(site.rollback(target="shop_eu"), Idempotency_Key="deploy-17")

    assert (first.json()["new"], again.json()["new"]) == (True, False)
    assert again.json()["run"] == first.json()["run"]
    assert code(other, 409) in {"conflict", "replayed"}


def test_a_command_may_come_in_a_cloud_event(site: Site) -> None:
    """In structured mode; what is no such event is refused."""
    event = {
        "specversion": "1.0",
        "id": "9f2c",
        "source": "/billing",
        "type": "stepback.command",
        "data": {"envelope": site.rollback()},
    }
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}

    taken = site.client.post("/v1/commands", content=json.dumps(event), headers=headers)
    refused = site.client.post("/v1/commands", content=json.dumps({**event, "type": CANARY}), headers=headers)

    assert taken.status_code == 202
    assert code(refused, 422) == "bad_request"
    assert CANARY not in refused.text


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"target": "vault"}, 403, "not_allowed"),
        ({"target": "shop_us"}, 404, "unknown_target"),
        ({"migration": "no_such"}, 404, "unknown_migration"),
        ({"kind": Kind.RECOVER, "migration": None, "subject_run": 4711}, 404, "unknown_run"),
        ({"migration": f"postgresql://app:{CANARY}@db/"}, 422, "bad_name"),
        ({"plan_sha256": "00" * 32}, 422, "plan_changed"),
        ({"audience": str(uuid4())}, 401, "bad_signature"),
        ({"not_after": datetime.now(UTC) - timedelta(minutes=1), "issued_at": datetime.now(UTC) - timedelta(hours=1)},
         422, "expired"),
        ({"reason": f"{CANARY}\n"}, 422, "bad_name"),
    ],
)  # fmt: skip
def test_a_refusal_is_a_problem_with_its_code(site: Site, fields: dict[str, Any], status: int, word: str) -> None:
    """It is in the audit log, and repeats nothing of what came."""
    answer = site.submit(site.rollback(**fields))

    (event,) = site.events()
    assert code(answer, status) == word
    assert (event.type, event.detail["code"], event.detail["via"]) == ("command_refused", word, "gateway")
    assert CANARY not in answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_nobody_learns_which_targets_there_are(site: Site) -> None:
    """An issuer with a right to names that are not configured hears of none that is."""
    assert "vault" not in site.submit(site.rollback(target="shop_us")).text


def test_an_issuer_without_rights_may_do_nothing(site: Site) -> None:
    """A registered key is no right."""
    assert code(site.submit(site.rollback(STRANGER)), 403) == "not_allowed"


@pytest.mark.parametrize(
    ("body", "kind", "status", "word"),
    [
        (b"", "application/json", 422, "bad_request"),
        (b"[]", "application/json", 422, "bad_request"),
        (b'{"envelope": 1}', "application/json", 422, "bad_request"),
        (b'{"envelope": "a.b.c", "envelope": "a.b.c"}', "application/json", 422, "bad_request"),
        (b'{"envelope": "a.b.c", "canary-7f3d9a": 1}', "application/json", 422, "bad_request"),
        (b'{"envelope": "canary-7f3d9a"}', "application/json", 401, "bad_signature"),
        (b'{"envelope": "a.b.c"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"envelope": "a.b.c"}', "application/json; charset=latin-1", 415, "unsupported_media_type"),
        (b'{"envelope": "' + b"x" * MOST + b'"}', "application/json", 413, "content_too_large"),
        (b'{"envelope": "' + b"x" * 66_000 + b'"}', "application/json", 401, "bad_signature"),
    ],
)  # fmt: skip
def test_only_an_envelope_is_read(site: Site, body: bytes, kind: str, status: int, word: str) -> None:
    """Strict JSON of a bounded size; no answer repeats what came."""
    answer = site.client.post("/v1/commands", content=body, headers={"Content-Type": kind})

    assert code(answer, status) == word
    assert CANARY not in answer.text


def test_the_size_is_bounded_without_a_length_too(site: Site) -> None:
    """A body in chunks is read as far as it may be long."""
    chunks = (b"x" * 1024 for _ in range(200))
    try:
        answer = site.client.post("/v1/commands", content=chunks, headers={"Content-Type": "application/json"})
    except httpx.WriteError:
        # The answer was there, and the connection closed, before all of it was sent.
        return
    assert code(answer, 413) == "content_too_large"


def test_a_run_that_ends_meanwhile_is_the_answer(site: Site) -> None:
    """With Prefer: wait the answer comes when the run has ended, at once and not at the end of the time."""
    envelope = site.rollback()
    run = site.submit(envelope).json()["run"]
    timer = threading.Timer(0.5, site.cancel, (run,))
    timer.start()

    began = time.monotonic()
    answer = site.submit(envelope, Prefer="respond-async, wait=30; x=y")
    took = time.monotonic() - began
    timer.join()

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert (answer.json()["run"], answer.json()["state"]) == (run, "cancelled")
    assert 0.4 < took < 5


@pytest.mark.parametrize(("prefer", "applied"), [("wait=0", "wait=0"), ("wait=x", None), ("return=minimal", None)])
def test_a_run_that_goes_on_is_answered_as_accepted(site: Site, prefer: str, applied: str | None) -> None:
    """When the time is up, or no time was given; a preference that means nothing is ignored."""
    answer = site.submit(site.rollback(), Prefer=prefer)

    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)


def test_commands_of_the_same_moment_are_submitted_together(ledger_engine: Engine, broker: RedisBroker) -> None:
    """The first goes alone, those that come meanwhile in one batch; one that is refused harms no other."""
    batches: list[int] = []
    gate = threading.Event()
    way_in = OneWayIn(ledger_engine, broker, SETTINGS, pin, via=VIA)

    class Counted:
        def submit_all(self, handed: Sequence[Handed]) -> list[Submitted | StepbackError]:
            batches.append(len(handed))
            assert gate.wait(10)
            return way_in.submit_all(handed)

    with serving(ledger_engine, broker, way_in=Counted()) as site, ThreadPoolExecutor(21) as many:
        envelopes = [site.rollback() for _ in range(20)]
        envelopes[7] = site.rollback(target="vault")
        first = many.submit(site.submit, site.rollback())
        _until(lambda: batches == [1])
        others = [many.submit(site.submit, envelope) for envelope in envelopes]
        _until(lambda: len(site.gateway.gathering._waiting) == 20)
        gate.set()
        statuses = [each.result().status_code for each in (first, *others)]

    assert batches == [1, 20]
    assert statuses == [202] * 8 + [403] + [202] * 12


def test_a_fault_that_nobody_foresaw_harms_no_other(ledger_engine: Engine, broker: RedisBroker) -> None:
    """A batch that fails for an unknown reason is tried one by one; only the culprit is answered with 500."""
    way_in = OneWayIn(ledger_engine, broker, SETTINGS, pin, via=VIA)
    gate = threading.Event()

    class Breaking:
        def submit_all(self, handed: Sequence[Handed]) -> list[Submitted | StepbackError]:
            assert gate.wait(10)
            if any(each.idempotency_key == "boom" for each in handed):
                raise RuntimeError(CANARY)
            return way_in.submit_all(handed)

    with serving(ledger_engine, broker, way_in=Breaking()) as site, ThreadPoolExecutor(6) as many:
        first = many.submit(site.submit, site.rollback())
        others = [many.submit(site.submit, site.rollback(), Idempotency_Key=key) for key in ("a", "boom", "c")]
        _until(lambda: len(site.gateway.gathering._waiting) == 3)
        gate.set()
        answers = [each.result() for each in (first, *others)]

    assert [answer.status_code for answer in answers] == [202, 202, 500, 202]
    assert code(answers[2], 500) == "internal_error"
    assert CANARY not in answers[2].text


def test_a_ledger_that_does_not_answer_is_told_to_all(ledger_engine: Engine, broker: RedisBroker) -> None:
    """503, with the time after which to try again; the same envelope never makes a second run."""

    class Away:
        def submit_all(self, _handed: Sequence[Handed]) -> list[Submitted | StepbackError]:
            raise LedgerUnreachable("the ledger does not answer; try again")

    with serving(ledger_engine, broker, way_in=Away()) as site:
        answer = site.submit(site.rollback())

    assert code(answer, 503) == "ledger_unreachable"
    assert int(answer.headers["retry-after"]) > 0


def test_without_a_queue_commands_are_taken(ledger_engine: Engine) -> None:
    """What is in the ledger is accepted, though nobody could be rung for; readiness says what is missing."""
    broker = open_doorbell("redis://127.0.0.1:1/0", namespace="nobody")
    with serving(ledger_engine, broker) as site:
        answer = site.submit(site.rollback())
        ready = site.client.get("/readyz")

    assert answer.status_code == 202
    assert answer.json()["new"] is True
    assert code(ready, 503) == "not_ready"
    assert "Redis" in ready.json()["detail"]
    assert "ledger" not in ready.json()["detail"]


def test_a_run_is_cancelled_by_a_signed_statement(site: Site) -> None:
    """Of whoever asked for it; not under the address of another run, and not by somebody without the right."""
    run, other = site.new_run(), site.new_run()
    envelope = site.signed(Access, BILLING)

    stranger = site.cancel(run, AUDITOR)
    wrong_kind = site.client.post(f"/v1/runs/{run}/cancel", json={"envelope": envelope})
    cancelled = site.cancel(run)
    again = site.cancel(run)

    assert code(stranger, 403) == "not_allowed"
    assert code(wrong_kind, 422) == "bad_request"
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert code(again, 409) == "not_awaiting"
    assert site.get(f"/v1/runs/{other}").json()["state"] == "queued"


def test_a_decision_may_be_sent_twice(site: Site) -> None:
    """Whoever got no answer sends the very same again and gets one; it is written down once."""
    run = site.new_run()
    with transaction(site.engine) as conn:
        command_id = find(conn, run).command_id
    about = {"command_id": command_id, "run": run, "target": "shop", "reason": "not wanted"}
    envelope = site.signed(Cancellation, BILLING, **about)

    answers = [site.client.post(f"/v1/runs/{run}/cancel", json={"envelope": envelope}) for _ in range(2)]

    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "cancelled")] * 2
    assert [event.type for event in site.events() if event.run == run] == ["command_submitted", "run_cancelled"]


def test_consent_is_about_the_run_of_the_address(site: Site) -> None:
    """A statement about one run does nothing under another's address."""
    run, other = site.new_run(), site.new_run()

    answer = site.client.post(f"/v1/runs/{other}/approvals", json={"envelope": site.approval(run, AUDITOR)})

    assert code(answer, 422) == "bad_request"


def test_a_run_that_does_not_wait_is_not_approved(site: Site) -> None:
    """By whoever may approve there; who may not hears only that."""
    run = site.new_run(AUDITOR, kind=Kind.VALIDATE, target="vault", migration=None)

    by_asker = site.client.post(f"/v1/runs/{run}/approvals", json={"envelope": site.approval(run, AUDITOR)})
    by_other = site.client.post(f"/v1/runs/{run}/approvals", json={"envelope": site.approval(run, BILLING)})

    assert code(by_asker, 409) == "not_awaiting"
    assert code(by_other, 403) == "not_allowed"


def test_an_issuer_that_asks_too_often_has_to_wait(ledger_engine: Engine, broker: RedisBroker) -> None:
    """429 with the seconds, for that issuer and nobody else."""
    with serving(ledger_engine, broker, settings=_slow(2)) as site:
        answers = [site.submit(site.rollback()) for _ in range(4)]
        other = site.submit(site.rollback(AUDITOR, kind=Kind.VALIDATE, target="vault", migration=None))

    assert [answer.status_code for answer in answers].count(429) >= 1
    assert code(answers[-1], 429) == "too_many_requests"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert other.status_code == 202


def test_an_hourly_limit_does_not_say_when_to_come_back(ledger_engine: Engine, broker: RedisBroker) -> None:
    """It has room again when what was asked is an hour old, which no fixed time tells: 429 without Retry-After."""
    producer = SETTINGS.producers[BILLING].model_copy(update={"destructive_per_hour": 1})
    settings = SETTINGS.model_copy(update={"producers": {**SETTINGS.producers, BILLING: producer}})
    with serving(ledger_engine, broker, settings=settings) as site:
        first, second = (site.submit(site.rollback()) for _ in range(2))

    assert first.status_code == 202
    assert code(second, 429) == "limit_reached"
    assert "retry-after" not in second.headers


def test_an_address_without_a_signature_has_to_wait(ledger_engine: Engine, broker: RedisBroker) -> None:
    """Beyond its rate what it brings is not even written down; those with a signature are heard from there."""
    with serving(ledger_engine, broker, settings=_slow(2)) as site:
        answers = [site.submit("a.b.c") for _ in range(6)]
        signed = site.submit(site.rollback())
        refused = [event for event in site.events() if event.type == "command_refused"]

    assert code(answers[0], 401) == "bad_signature"
    assert code(answers[-1], 429) == "too_many_requests"
    assert len(refused) == [answer.status_code for answer in answers].count(401)
    assert signed.status_code == 202


def test_connections_are_counted(ledger_engine: Engine, broker: RedisBroker) -> None:
    """Those beyond the limit are sent away with a problem; those that are there are served."""
    limited = SETTINGS.gateway.model_copy(update={"max_connections": 3})
    with serving(ledger_engine, broker, settings=SETTINGS.model_copy(update={"gateway": limited})) as site:
        where = urlsplit(site.url)
        assert where.hostname is not None
        idle = [socket.create_connection((where.hostname, where.port or 0)) for _ in range(2)]
        served = site.client.get("/healthz")
        with socket.create_connection((where.hostname, where.port or 0)) as beyond:
            beyond.settimeout(10)
            told = beyond.makefile("rb").read()
        for each in idle:
            each.close()

    assert served.status_code == 200
    assert told.startswith(b"HTTP/1.1 503 ")
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "too_many_connections"


def _slow(per_second: float) -> Any:  # noqa: ANN401 - settings
    return SETTINGS.model_copy(update={"gateway": SETTINGS.gateway.model_copy(update={"max_per_second": per_second})})


def _until(is_so: Any) -> None:  # noqa: ANN401 - a question
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
