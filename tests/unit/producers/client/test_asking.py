"""What happens on the way to the gateway: tries, refusals, and answers of others."""

from __future__ import annotations

import json
import time

import pytest
from joserfc.jwk import OKPKey

from stepback_client import (
    BadAnswer,
    Client,
    Conflict,
    LimitReached,
    NotAllowed,
    NotFound,
    NotTrusted,
    Refused,
    StepbackError,
    StillWaiting,
    Unavailable,
)
from tests.unit.producers.client.answering import Answer, Server, accepted, document, problem, reset, run, stream, text

CANARY = "canary-7f3d9a"


def ask(client: Client, idempotency_key: str | None = None) -> int:
    """Ask for something; return the run."""
    return client.rollback(
        "add_health_alerts", target="goodbuy_hq", reason="bad release", idempotency_key=idempotency_key
    ).run


# -- tried again ------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        reset,
        text(502, b"<html>", "text/html"),
        problem(503, "ledger_unreachable", "the ledger does not answer"),
        problem(429, "limit_reached", "too many requests", Retry_After="0"),
    ],
    ids=["reset", "proxy", "ledger", "haste"],
)
def test_the_same_envelope_is_sent_again(client: Client, server: Server, trouble: Answer) -> None:
    """What broke on the way is sent again byte for byte: it stays one command, under one idempotency key."""
    server.will(trouble, trouble, accepted)

    assert ask(client, "order 66") == 7

    assert len({asked.body for asked in server.asked}) == 1
    assert [asked.headers["Idempotency-Key"] for asked in server.asked] == ["order 66"] * 3


def test_nobody_there(okp: OKPKey) -> None:
    """Where nobody answers the caller gets the envelope back, to send it later; the message does not show it."""
    with Client(
        "http://127.0.0.1:1", key=okp.as_pem(private=True), issuer="service:billing", installation="x", timeout=0.5
    ) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 did not answer \(ConnectError\)") as caught:
            ask(client)

    assert time.monotonic() - began < 2
    assert caught.value.envelope is not None
    assert caught.value.envelope not in str(caught.value)


def test_an_envelope_is_sent_later(client: Client, server: Server, okp: OKPKey) -> None:
    """What one client could not send another one does, unchanged."""
    with (
        Client(
            "http://127.0.0.1:1", key=okp.as_pem(private=True), issuer="service:billing", installation="x", timeout=0.1
        ) as away,
        pytest.raises(Unavailable) as caught,
    ):
        ask(away)
    server.will(accepted)
    assert caught.value.envelope is not None

    client.send(caught.value.envelope)

    assert server.asked[0].envelope == caught.value.envelope


def test_a_gateway_that_stays_away_is_given_up(server: Server, okp: OKPKey) -> None:
    """The time is kept to, and the last answer is what is told."""
    server.will(*[problem(503, "ledger_unreachable", "the ledger does not answer")] * 50)

    with (
        Client(server.url, key=okp.as_pem(private=True), issuer="service:billing", timeout=0.5) as client,
        pytest.raises(Unavailable, match="the ledger does not answer") as caught,
    ):
        ask(client)

    assert caught.value.code == "ledger_unreachable"


# -- refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "bad_signature", NotTrusted),
        (403, "not_allowed", NotAllowed),
        (404, "unknown_migration", NotFound),
        (409, "replayed", Conflict),
        (422, "expired", Refused),
        (429, "limit_reached", LimitReached),
        (500, "internal_error", StepbackError),
    ],
)
def test_a_refusal_is_told_once(
    client: Client, server: Server, status: int, code: str, kind: type[StepbackError]
) -> None:
    """What Stepback decides against comes back as its class, code and message, and is not asked again."""
    server.will(problem(status, code, "what to do next"))

    with pytest.raises(StepbackError, match="what to do next") as caught:
        ask(client)

    assert (type(caught.value), caught.value.code) == (kind, code)
    assert len(server.asked) == 1


def test_a_limit_that_lasts(client: Client, server: Server) -> None:
    """A limit that outlasts the timeout is told at once, with the seconds to wait."""
    server.will(problem(429, "limit_reached", "too many rollbacks", Retry_After="3600"))

    with pytest.raises(LimitReached) as caught:
        ask(client)

    assert caught.value.retry_after == 3600


@pytest.mark.parametrize(
    "answer",
    [
        text(200, f"<html>{CANARY}".encode(), "text/html"),
        text(404, f"<html>{CANARY}".encode(), "text/html"),
        text(302, CANARY.encode(), "text/plain", {"Location": f"http://elsewhere.example/{CANARY}"}),
        text(400, f'"{CANARY}"'.encode(), "application/problem+json"),
        document({"installation": CANARY}),
        document({"command_id": CANARY, "run": "x", "new": True}),
    ],
    ids=["page", "missing_page", "redirection", "odd_problem", "other_json", "odd_json"],
)
def test_an_answer_of_somebody_else(client: Client, server: Server, answer: Answer) -> None:
    """What is no gateway's answer is not taken for one, not followed elsewhere and not repeated."""
    server.will(answer)

    with pytest.raises(BadAnswer, match="see that the URL") as caught:
        ask(client)

    assert CANARY not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url", ["stepback.example", "ftp://stepback.example", "http://ada:s3cret@x.example", "http://x:port"]
)
def test_a_url_that_is_none(okp: OKPKey, url: str) -> None:
    """A URL of nothing, or with a password, is refused at once, without being repeated."""
    with pytest.raises(ValueError, match="url has to be that of a gateway") as caught:
        Client(url, key=okp.as_pem(private=True), issuer="service:billing")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "a\r\nX: y", "ä", "a" * 201, "trailing "])
def test_an_idempotency_key_that_is_none(client: Client, server: Server, key: str) -> None:
    """What no header can carry as it is never leaves."""
    with pytest.raises(ValueError, match="idempotency_key has to be"):
        ask(client, key)

    assert server.asked == []


# -- reading and deciding ---------------------------------------------------


def test_reading_shows_a_token(client: Client, server: Server) -> None:
    """A run is asked for with a token, and comes back typed, with the whole document beside."""
    server.will(run("failed", error={"code": "gate_failed", "message": "a check did not hold"}))

    found = client.status(7)

    assert server.asked[0].headers["Authorization"].startswith("Bearer ey")
    assert (found.run, found.state, found.ended, found.completed) == (7, "failed", True, False)
    assert found.error is not None
    assert found.error.code == "gate_failed"
    assert found.document["a_key_of_a_later_version"] == []


def test_names_stay_in_their_place(client: Client, server: Server) -> None:
    """A name cannot become another path."""
    server.will(document({"migration": "../x"}))

    client.plan("../runs?a=b", target="a/b")

    assert server.asked[0].path == "/v1/targets/a%2Fb/plans/..%2Fruns%3Fa%3Db"


def test_waiting(client: Client, server: Server) -> None:
    """Waiting ends with the run; a gateway that is away for a moment does not matter."""
    server.will(run("queued"), reset, run("in_progress"), run("completed"))

    assert client.wait(7, timeout=30).completed


def test_waiting_in_vain(client: Client, server: Server) -> None:
    """A run that goes on is told as it was last seen."""
    server.will(*[run("awaiting_approval")] * 9)

    with pytest.raises(StillWaiting, match="run 7 is awaiting_approval") as caught:
        client.wait(7, timeout=0.3)

    assert caught.value.run.state == "awaiting_approval"


def test_what_was_seen_is_approved(client: Client, server: Server) -> None:
    """An approval names plan and impact of the run that was looked at; the run is not looked up again."""
    server.will(run("awaiting_approval"), run("queued"), run("cancelled"))

    seen = client.status(7)
    client.approve(seen, "looked through")
    client.cancel(seen, "not today")

    assert [asked.path for asked in server.asked[1:]] == ["/v1/runs/7/approvals", "/v1/runs/7/cancel"]


def test_a_decision_is_sent_again_as_it_was(client: Client, server: Server) -> None:
    """An approval that may have arrived is sent again, byte for byte: the ledger knows it by that."""
    server.will(run("awaiting_approval"), reset, run("queued"))

    assert client.approve(7, "looked through").state == "queued"

    _, first, second = server.asked
    assert (second.path, second.envelope) == (first.path, first.envelope) == ("/v1/runs/7/approvals", first.envelope)


def sent(*events: int) -> bytes:
    """Return events as the gateway sends them."""
    return b"".join(
        b": ping\r\n\nid: %d\nevent: stepback.x\ndata: %s\n\n"
        % (seq, json.dumps(cloud(seq), ensure_ascii=False).encode())
        for seq in events
    )


def cloud(seq: int) -> dict[str, object]:
    """Return a CloudEvent."""
    return {"type": "stepback.x", "time": "2025-09-03T12:00:00Z", "data": {"seq": seq, "step": "ä\u2028\x85€"}}


def test_events_go_on_after_a_break(client: Client, server: Server) -> None:
    """Each event comes once, in order, though the stream broke off within one and ended early once."""
    server.will(
        run("in_progress"),
        stream(sent(1, 2) + sent(3)[:30], whole=False),
        stream(sent(3), whole=True),
        run("in_progress"),
        stream(sent(4), whole=True),
        run("completed"),
        stream(sent(5), whole=True),
    )

    events = list(client.events(7))

    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert events[0].data["step"] == "ä\u2028\x85€"
    streams = [asked.headers.get("Last-Event-ID") for asked in server.asked if asked.path.endswith("/events")]
    assert streams == [None, "2", "3", "4"]
