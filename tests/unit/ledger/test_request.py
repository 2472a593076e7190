"""A request is read strictly, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadName, BadRequest
from ledger.model import Kind, Policy
from ledger.request import Request
from ledger.statements import MAX_REASON, decode, encode, strict_json

ISSUED = datetime(2025, 9, 3, 12, 0, 0, 250_000, tzinfo=UTC)
REQUEST = Request(
    kind=Kind.ROLLBACK,
    target="goodbuy_hq",
    migration="add_health_metrics_table",
    reason="wrong scores in production",
    command_id=UUID("7a0a1a64-5a5d-4a6e-9f0b-0d5c5b6f3a11"),
    audience="2f6f1c1e-93a5-4b52-8c7f-fb2f6b1c0d11",
    issuer="local:ada",
    issued_at=ISSUED,
    not_after=ISSUED + timedelta(hours=1),
)
RECOVERY = replace(REQUEST, kind=Kind.RECOVER, migration=None, subject_run=7)
CANARY = "canary-7f3d9a"


def fields(**changes: object) -> dict[str, Any]:
    """Return a proper request as the fields of its JSON, with some of them changed."""
    return {**json.loads(encode(REQUEST)), **changes}


def raw(**changes: object) -> bytes:
    """Return a proper request as JSON, with some of its fields changed."""
    return json.dumps(fields(**changes)).encode()


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        RECOVERY,
        replace(REQUEST, plan_sha256="a" * 64),
        replace(REQUEST, accept_sha256="b" * 64),
        replace(RECOVERY, policy=Policy.OVERWRITE, conditions={"public.t": "a > 1"}),
        replace(RECOVERY, kind=Kind.PURGE),
        replace(REQUEST, kind=Kind.VALIDATE),
    ],
)
def test_round_trip(request_: Request) -> None:
    """What was encoded is decoded, field by field."""
    assert decode(Request, encode(request_).encode()) == request_


def test_times_are_written_in_utc() -> None:
    """A time in another zone is written as the same moment in UTC, with a Z."""
    local = ISSUED.astimezone(timezone(timedelta(hours=5, minutes=30)))

    written = json.loads(encode(replace(REQUEST, issued_at=local)))

    assert written["issued_at"] == "2025-09-03T12:00:00.250000Z"


def test_naive_times_are_a_mistake_of_the_caller() -> None:
    """A time without a zone is not guessed at."""
    with pytest.raises(ValueError, match="aware"):
        encode(replace(REQUEST, issued_at=ISSUED.replace(tzinfo=None)))


@pytest.mark.parametrize(
    "key", ["kind", "target", "reason", "command_id", "audience", "issuer", "issued_at", "not_after"]
)
def test_every_needed_field_is_missed(key: str) -> None:
    """A request without one of its fields is refused, and the message names it."""
    payload = fields()
    del payload[key]

    with pytest.raises(BadRequest, match=key):
        decode(Request, json.dumps(payload).encode())


def test_optional_fields_may_be_left_out() -> None:
    """A producer need not write the nulls."""
    payload = {key: value for key, value in fields().items() if value is not None}

    assert decode(Request, json.dumps(payload).encode()) == REQUEST


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "undo"),
        ("kind", "ROLLBACK"),
        ("kind", None),
        ("target", 1),
        ("target", None),
        ("target", ["goodbuy_hq"]),
        ("migration", {"a": 1}),
        ("migration", True),
        ("subject_run", "7"),
        ("subject_run", True),
        ("subject_run", 0),
        ("subject_run", -1),
        ("subject_run", 2**63),
        ("subject_run", 10**400),
        ("reason", None),
        ("reason", 5),
        ("command_id", "not-a-uuid"),
        ("command_id", 5),
        ("plan_sha256", 5),
        ("audience", None),
        ("issuer", []),
    ],
)
def test_fields_of_another_type_are_refused(key: str, value: object) -> None:
    """Nothing is converted: a field is of its type, or the request is refused with the name of the field."""
    with pytest.raises(BadRequest, match=key):
        decode(Request, raw(**{key: value}))


@pytest.mark.parametrize(
    "time",
    [
        "2025-09-03T12:00:00",
        "2025-09-03 12:00:00Z",
        "2025-09-03T12:00:00+00:00",
        "2025-09-03T14:00:00+02:00",
        "2025-09-03T12:00:00z",
        "2025-09-03",
        "2025-13-03T12:00:00Z",
        "2025-02-30T12:00:00Z",
        "2025-09-03T24:00:01Z",
        "2025-09-03T12:00:00.1234567Z",
        "2025-09-03T12:00:00Z\n",
        "\uff12025-09-03T12:00:00Z",
        1756900800,
        None,
    ],
)
@pytest.mark.parametrize("key", ["issued_at", "not_after"])
def test_only_rfc_3339_in_utc_is_a_time(key: str, time: object) -> None:
    """Times that could be read in two ways, or are none, are refused."""
    with pytest.raises(BadRequest, match=key):
        decode(Request, raw(**{key: time}))


@pytest.mark.parametrize("fraction", ["", ".1", ".123", ".123456"])
def test_fractions_of_a_second_are_optional(fraction: str) -> None:
    """A producer may write as many digits as its clock has, up to six."""
    request = decode(Request, raw(issued_at=f"2025-09-03T12:00:00{fraction}Z"))

    assert request.issued_at.microsecond == int(fraction.removeprefix(".").ljust(6, "0"))
    assert request.issued_at.utcoffset() == timedelta(0)


def test_unknown_fields_are_refused_and_not_repeated() -> None:
    """A field that no request has is refused; its name, which may be anything, stays out of the message."""
    with pytest.raises(BadRequest) as refused:
        decode(Request, raw(**{CANARY: 1}))

    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("key", ["kind", "command_id", "issued_at"])
def test_values_are_not_repeated(key: str) -> None:
    """A value that was refused stays out of the message."""
    with pytest.raises(BadRequest) as refused:
        decode(Request, raw(**{key: CANARY}))

    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{} {}",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1.0}',
        b'{"a": 1e3}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": "\x00"}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b"[" * 40_000,
        b'{"a":' * 20_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_anything_but_one_strict_object_is_refused(document: bytes) -> None:
    """Duplicate keys, NaN, floats, other encodings, deep nesting: refused, never an error of ours."""
    with pytest.raises(BadRequest, match="strict JSON"):
        strict_json("command", document)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_answered_with_a_refusal(document: bytes) -> None:
    """Whatever is signed, the answer is a refusal and not a crash."""
    with pytest.raises(BadRequest):
        decode(Request, document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(fields())), value=json_values)
def test_any_value_in_any_field_is_answered(key: str, value: object) -> None:
    """Whatever stands in a field, the answer is a request or a refusal."""
    try:
        request = decode(Request, raw(**{key: value}))
    except (BadRequest, BadName):
        return

    assert json.loads(encode(request)).keys() == fields().keys()


def test_a_reason_may_be_long_and_in_any_language() -> None:
    """500 characters of plain text are a reason, whatever the script."""
    reason = "価格が違う 🚑 " + "é" * (MAX_REASON - 8)
    assert len(reason) == MAX_REASON

    assert decode(Request, raw(reason=reason)).reason == reason


@pytest.mark.parametrize("reason", ["a\x00b", "a\nb", "a\rb", "a\tb", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_reason_is_one_line_of_plain_text(reason: str) -> None:
    """Control characters and line breaks, which could forge a log line or a screen, are refused."""
    with pytest.raises(BadName, match="control character"):
        decode(Request, raw(reason=reason))


def test_a_reason_has_a_limit() -> None:
    """501 characters are refused, without being repeated."""
    with pytest.raises(BadName, match="500") as refused:
        decode(Request, raw(reason=CANARY.ljust(MAX_REASON + 1, "x")))

    assert CANARY not in str(refused.value)


def test_lone_surrogates_are_refused() -> None:
    """Text that cannot be written as UTF-8 never reaches the ledger."""
    with pytest.raises(BadRequest):
        decode(Request, raw(reason="\udcff"))


@pytest.mark.parametrize("hours", [0, -1, 24.001, 24 * 365])
def test_validity_is_bounded(hours: float) -> None:
    """A command that is valid for no time, or for more than 24 hours, is refused."""
    request = replace(REQUEST, not_after=ISSUED + timedelta(hours=hours))

    with pytest.raises(BadRequest, match="24 hours"):
        decode(Request, encode(request).encode())


def test_validity_of_exactly_a_day_is_fine() -> None:
    """24 hours are allowed, to the microsecond."""
    request = replace(REQUEST, not_after=ISSUED + timedelta(hours=24))

    assert decode(Request, encode(request).encode()) == request


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, subject_run=7),
        replace(REQUEST, kind=Kind.VALIDATE, subject_run=7),
        replace(REQUEST, policy=Policy.SKIP),
        replace(REQUEST, conditions={"t": "true"}),
        replace(RECOVERY, subject_run=None),
        replace(RECOVERY, kind=Kind.PURGE, subject_run=None),
        replace(RECOVERY, kind=Kind.PURGE, policy=Policy.ASIDE),
        replace(RECOVERY, plan_sha256="a" * 64),
    ],
)
def test_a_kind_has_its_own_fields(request_: Request) -> None:
    """A rollback of a run, a recovery of nothing, a purge by a policy and the like are refused."""
    with pytest.raises(BadRequest, match=f"a {request_.kind.value} "):
        decode(Request, encode(request_).encode())


def test_a_recovery_accepts_no_impact() -> None:
    """Only a rollback reaches what its plan does not name."""
    with pytest.raises(BadRequest, match="no impact to accept"):
        decode(Request, encode(replace(RECOVERY, accept_sha256="a" * 64)).encode())


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 7])
def test_what_is_accepted_is_a_hash(text: object) -> None:
    """64 hexadecimal digits, as they are printed, or nothing."""
    with pytest.raises(BadRequest, match="accept_sha256"):
        decode(Request, raw(accept_sha256=text))
