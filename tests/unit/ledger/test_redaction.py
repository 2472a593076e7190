"""Redaction: no secret gets through, no ordinary text is harmed, and no line is lost for it."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.redaction import REDACTED, UNPRINTABLE, _is_harmless, _masked, is_secret, redact_entry, redacted

#: Stands in every secret here, and nowhere else.
CANARY = "Can4ryBird"

_BASE64URL = string.ascii_letters + string.digits + "-_"
#: What people take for passwords, but for blanks and what ends a value in the form at hand.
_PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0"), max_size=12
)
_HALVES = st.tuples(_PASSWORDS, _PASSWORDS).map(lambda halves: f"{halves[0]}{CANARY}{halves[1]}")
_QUOTABLE = _HALVES.map(lambda text: text.replace("'", "").replace('"', "").replace("\\", ""))
_TOKENS = st.text(_BASE64URL, min_size=10, max_size=60).map(lambda text: text[:5] + CANARY + text[5:])
_AROUND = st.sampled_from(["", " ", "connection to ", "{'a': 1} ", "\n", "a=b "])

#: Each takes a secret and returns a text that holds it.
_FORMS = {
    "postgresql": (_HALVES, "postgresql://stepback_app:{}@ledger.example:5432/stepback_ledger?sslmode=require"),
    "sqlalchemy": (_HALVES, "postgresql+psycopg://u:{}@/db?host=/run/x"),
    "redis": (_HALVES, "redis://:{}@redis.example/0"),
    "query": (_HALVES, "postgresql://h/db?user=u&password={}"),
    "conninfo": (_HALVES.filter(lambda text: text[0] not in "'\""), "host=h password={} dbname=db"),
    "quoted": (_QUOTABLE, "host=h password = 'two words {}' dbname=db"),
    "python": (_QUOTABLE, "{{'user': 'u', 'password': 'two words {}'}}"),
    "json": (_QUOTABLE, '{{"access_token":"{}","a":1}}'),
    "sql": (_QUOTABLE, "ALTER ROLE u WITH LOGIN PASSWORD 'two words {}';"),
    "web": (_QUOTABLE.map(lambda text: "".join(set(text) - set("/?#")) + CANARY), "https://{}@hooks.example/x"),
    "header": (_TOKENS, "Authorization: Bearer {}"),
    "bearer": (_TOKENS.map(lambda text: text + "7"), "sent Bearer {}"),
    "jws": (_TOKENS, "eyJhbGciOiJFZERTQSJ9.{}.c2lnbmF0dXJl"),
    "jws cut": (_TOKENS, "eyJhbGciOiJFZERTQSJ9.{}"),
    "jwk": (_TOKENS.map(lambda text: (text * 5)[:43]), '{{"kty":"OKP","d":"{}","x":"abc"}}'),
    "pem": (_TOKENS, "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"),
    "pem cut": (_TOKENS, "-----BEGIN EC PRIVATE KEY-----\\n{}"),
}


@pytest.mark.parametrize("form", sorted(_FORMS))
@given(data=st.data(), before=_AROUND, after=_AROUND)
def test_no_secret_survives_in_any_form(form: str, data: st.DataObject, before: str, after: str) -> None:
    """Whatever characters it has, wherever in a text it stands; and once masked, nothing more changes."""
    secrets, template = _FORMS[form]
    text = before + template.format(data.draw(secrets)) + after

    masked = redacted(text)

    assert CANARY not in masked
    assert REDACTED in masked
    assert redacted(masked) == masked


@given(st.text())
def test_masking_twice_is_masking_once(text: str) -> None:
    """And nothing that can be written raises."""
    assert redacted(redacted(text)) == redacted(text)


_PIECES = [
    "password",
    "=",
    "'",
    '"',
    "://",
    "@",
    ":",
    "http",
    "token",
    " ",
    "\\",
    "eyJ",
    ".",
    "-----BEGIN PRIVATE KEY-----",
]


@given(st.lists(st.sampled_from([*_PIECES, "a", "\n", "Bearer", "PASSWORD", "authorization", REDACTED]), max_size=14))
def test_masking_twice_is_masking_once_among_what_secrets_are_made_of(pieces: list[str]) -> None:
    """Where two forms meet in one text, one does not make the other."""
    text = "".join(pieces)

    assert redacted(redacted(text)) == redacted(text)


_ORDINARY = (
    "run 7: attempt 2 is no longer the one that may write",
    "table public.health_alerts belongs to goodbuy_app; GRANT goodbuy_app TO stepback_worker first",
    "postgresql://stepback_app@ledger.example:5432/stepback_ledger?sslmode=verify-full",
    "redis://redis.example:6379/0 does not answer (SQLSTATE 08006)",
    "https://runbook.example/page?who=ops@example.org#section",
    "http://127.0.0.1:9093/api/v2/alerts",
    "write to ops@example.org: https://runbook.example/",
    "ALTER TABLE users DROP COLUMN password_hash",
    "the password is wrong; the token has expired",
    "column secret of users: 3 rows",
    "give one of url and url_file, not both",
    "envelope_sha256 " + "a" * 64,
    "Basic understanding, bearer of news",
    "key=value, attempt=2, lock_timeout=2000",
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
    "/home/stepback/keys.py:17 read_key",
    "39fa9ad3-3ef3-497a-8178-096d02e47941",
)


@pytest.mark.parametrize("text", _ORDINARY)
def test_no_ordinary_text_is_harmed(text: str) -> None:
    """What operators need to read stays: users, hosts, names, hashes, addresses, SQL."""
    assert redacted(text) == text


@given(
    st.lists(
        st.sampled_from(
            [
                "authorization",
                "COOKIE",
                ":",
                "://",
                "@",
                "https",
                "password",
                "Bearer",
                "ey",
                "J",
                "A",
                "abcdefgh12",
                ".",
                "-----BEGIN",
                "PRIVATE",
                "KEY-----",
                "=",
                " ",
                "'",
                '"',
                "d",
                "\\",
                "\u212a",
                "\u017f",
                "/",
                "a" * 40,
            ]
        )
        | st.characters(),
        max_size=12,
    ).map("".join)
)
def test_no_pattern_meets_what_is_not_looked_through(text: str) -> None:
    """The short way for hashes, names and times lets nothing by that the long way would mask."""
    if _is_harmless(text):
        assert _masked(text) == text


@pytest.mark.parametrize(
    "text", ["39fa9ad3-3ef3-497a-8178-096d02e47941", "a" * 64, "2026-11-23T23:21:58.123456Z", "service:billing"]
)
def test_hashes_names_and_times_take_the_short_way(text: str) -> None:
    """They make up most of a log."""
    assert _is_harmless(text)


@given(st.text(string.ascii_letters + string.digits + " .,;()_-/\n'\"äß", max_size=200))
def test_text_without_what_secrets_need_is_never_harmed(text: str) -> None:
    """Without =, : and @ there is nothing to mask but what SQL calls a PASSWORD."""
    if "password" not in text.lower() and "ey" not in text:
        assert redacted(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PGPASSWORD",
        "db_password",
        "accessToken",
        "client-secret",
        "ledger.dsn",
        "conninfo",
        "Authorization",
        "envelope",
        "private_key",
        "apiKey",
        "api_key",
        "credentials",
        "passphrase",
        "set-cookie",
    ],
)
def test_what_stands_under_a_secret_s_key_is_masked(key: str) -> None:
    """However the key is spelled, and whatever stands there."""
    assert is_secret(key)
    for value in (CANARY, 12345, {"a": CANARY}, [CANARY], CANARY.encode()):
        assert redact_entry(None, "info", {key: value}) == {key: REDACTED}


@pytest.mark.parametrize(
    "key", ["envelope_sha256", "key_id", "idempotency_key", "migration", "run", "secretary", "tokens_used", "url"]
)
def test_keys_that_only_sound_like_a_secret_s_are_left_alone(key: str) -> None:
    """A hash of an envelope is what an operator looks for."""
    assert redact_entry(None, "info", {key: "abc"}) == {key: "abc"}


def test_ordinary_values_stay_what_they_are() -> None:
    """Numbers are numbers, and what is absent is absent, under a secret's key too."""
    entry = {"run": 7, "seconds": 0.5, "ok": True, "none": None, "steps": [{"n": 1}], "password": None}

    assert redact_entry(None, "info", dict(entry)) == entry


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.frozensets(st.text())
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_any_line_can_be_printed_and_masked_again(entry: dict[str, Any]) -> None:
    """Nothing raises, nothing is left that JSON cannot hold, and the second time changes nothing."""
    masked = redact_entry(None, "info", entry)

    json.dumps(masked)
    assert redact_entry(None, "info", dict(masked)) == masked


@given(_HALVES, st.lists(st.sampled_from(["list", "dict", "tuple", "key"]), max_size=6))
def test_no_secret_survives_at_any_depth(secret: str, wrapping: list[str]) -> None:
    """In lists, in values, in keys of dictionaries."""
    value: object = f"redis://:{secret}@host/0"
    for how in wrapping:
        value = {"list": [value], "dict": {"a": value}, "tuple": (1, value), "key": {str(value): 1}}[how]

    assert CANARY not in json.dumps(redact_entry(None, "info", {"event": "failed", "value": value}))


class _Secretive:
    def __repr__(self) -> str:
        return f"<Engine redis://:{CANARY}@host/0>"


class _Broken:
    def __repr__(self) -> str:
        raise RuntimeError(CANARY)


def test_objects_are_masked_as_they_would_be_printed() -> None:
    """And one that cannot be printed does not cost the line."""
    entry = redact_entry(
        None, "info", {"a": _Secretive(), "b": _Broken(), "c": [{_Secretive(): 1}], "d": Exception("x")}
    )

    assert entry["b"] == UNPRINTABLE
    assert entry["d"] == "Exception('x')"
    assert CANARY not in json.dumps(entry)


def test_what_refers_to_itself_ends() -> None:
    """A line that is a knot is cut off at some depth."""
    knot: dict[str, object] = {"secret": CANARY}
    knot["again"] = [knot]

    assert CANARY not in json.dumps(redact_entry(None, "info", {"knot": knot}))


@pytest.mark.parametrize(
    "piece", ["://", "password=", "eyJ", "@", "a://b:", "-----BEGIN ", "'", "http://", "token ", "\\"]
)
def test_a_long_text_takes_no_longer_than_it_has_to(piece: str) -> None:
    """Whoever can put a text into a line cannot stop the process with it."""
    redacted(piece * 20_000)
