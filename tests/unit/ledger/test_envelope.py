"""An envelope is believed if a known key signed exactly these bytes with Ed25519, and never otherwise."""

from __future__ import annotations

import base64
import hmac
import json
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from ledger.envelope import MAX_ENVELOPE, open_envelope
from ledger.errors import BadName, BadRequest, BadSignature
from ledger.keys import SigningKey
from ledger.model import Kind
from ledger.request import Request
from ledger.statements import encode
from producers.envelope import sign
from producers.keys import PrivateKey

ISSUED = datetime(2025, 9, 3, 12, tzinfo=UTC)
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
SECRET = Ed25519PrivateKey.generate()
OKP = OKPKey.import_key(SECRET)
KEY = PrivateKey(key_id=OKP.thumbprint(), issuer="local:ada", okp=OKP)
KNOWN = SigningKey(key_id=KEY.key_id, issuer=KEY.issuer, public_key=KEY.public_key, created_at=ISSUED, revoked_at=None)
ENVELOPE = sign(REQUEST, KEY)
CANARY = "canary-7f3d9a"


def find_key(key_id: str) -> SigningKey | None:
    """Know one key."""
    return KNOWN if key_id == KNOWN.key_id else None


def never(key_id: str) -> SigningKey | None:
    """Stand where no key may be looked up any more."""
    raise AssertionError(f"nobody may be asked for the key {key_id!r}")


def b64(data: bytes) -> str:
    """Encode as a JWS does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Decode as loosely as a careless reader would."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(head: bytes, payload: bytes) -> str:
    """Sign what joserfc itself would not."""
    text = f"{b64(head)}.{b64(payload)}"
    return f"{text}.{b64(SECRET.sign(text.encode()))}"


def header(**changes: object) -> bytes:
    """Return a proper header, with some of its fields changed."""
    return json.dumps({"alg": "Ed25519", "kid": KEY.key_id, **changes}).encode()


def test_round_trip() -> None:
    """What was signed by a known key comes out as it went in."""
    assert open_envelope(ENVELOPE, find_key) == REQUEST


def test_the_header_says_ed25519() -> None:
    """The envelope names its algorithm fully and its key by the id, and says nothing else."""
    assert json.loads(unb64(ENVELOPE.split(".")[0])) == {"alg": "Ed25519", "kid": KEY.key_id}


@settings(max_examples=500)
@given(position=st.integers(0, len(ENVELOPE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_text_is_found(position: int, bit: int) -> None:
    """No bit of the envelope can be flipped unnoticed, padding bits of base64 included."""
    flipped = chr(ord(ENVELOPE[position]) ^ 1 << bit)

    with pytest.raises(BadSignature):
        open_envelope(ENVELOPE[:position] + flipped + ENVELOPE[position + 1 :], find_key)


@settings(max_examples=500)
@given(data=st.data(), part=st.integers(0, 2))
def test_a_flipped_bit_in_the_bytes_is_found(data: st.DataObject, part: int) -> None:
    """No bit of what is encoded, header, request or signature, can be flipped unnoticed."""
    parts = [bytearray(unb64(text)) for text in ENVELOPE.split(".")]
    bit = data.draw(st.integers(0, len(parts[part]) * 8 - 1))
    parts[part][bit // 8] ^= 1 << bit % 8

    with pytest.raises(BadSignature):
        open_envelope(".".join(b64(bytes(part)) for part in parts), find_key)


@given(cut=st.integers(0, len(ENVELOPE) - 1))
def test_a_cut_envelope_is_refused(cut: int) -> None:
    """An envelope that lost its end is refused, wherever it was cut."""
    with pytest.raises(BadSignature):
        open_envelope(ENVELOPE[:cut], find_key)


@given(st.text(max_size=300) | st.lists(st.text("abAB01-_=+/.", max_size=50), max_size=4).map(".".join))
def test_any_text_is_answered_with_a_refusal(text: str) -> None:
    """Whatever comes through the door, the answer is a refusal and not a crash."""
    with pytest.raises(BadSignature):
        open_envelope(text, find_key)


@given(first=st.binary(max_size=100), second=st.binary(max_size=100))
def test_any_signed_bytes_are_answered_with_a_refusal(first: bytes, second: bytes) -> None:
    """A known key makes no header and no request of what is neither."""
    with pytest.raises(BadSignature):
        open_envelope(signed(first, encode(REQUEST).encode()), find_key)
    with pytest.raises((BadRequest, BadSignature)):
        open_envelope(signed(header(), second), find_key)


@pytest.mark.parametrize("noise", ["\n", " ", "\x00", "=", ".", "é", "\udcff"])
def test_nothing_is_trimmed(noise: str) -> None:
    """One envelope has one spelling: nothing may stand before or behind it."""
    for text in (ENVELOPE + noise, noise + ENVELOPE):
        with pytest.raises(BadSignature):
            open_envelope(text, never)


def test_an_unknown_key_is_refused() -> None:
    """A proper signature of a key that nobody registered counts for nothing."""
    okp = OKPKey.generate_key("Ed25519")
    stranger = PrivateKey(key_id=okp.thumbprint(), issuer="local:ada", okp=okp)

    with pytest.raises(BadSignature, match="not registered"):
        open_envelope(sign(REQUEST, stranger), find_key)


def test_another_key_under_a_known_id_is_refused() -> None:
    """Whoever writes the id of a known key into the header still has to have that key."""
    impostor = replace(KEY, okp=OKPKey.generate_key("Ed25519"))

    with pytest.raises(BadSignature, match="does not fit"):
        open_envelope(sign(REQUEST, impostor), find_key)


def test_a_revoked_key_is_refused() -> None:
    """From the moment a key is revoked nothing that it signed is believed, whenever that was."""
    revoked = replace(KNOWN, revoked_at=ISSUED + timedelta(days=1))

    with pytest.raises(BadSignature, match="revoked"):
        open_envelope(ENVELOPE, lambda _: revoked)


def test_a_key_speaks_for_its_own_issuer() -> None:
    """A known key cannot sign in the name of somebody else."""
    with pytest.raises(BadSignature, match="another issuer"):
        open_envelope(sign(replace(REQUEST, issuer="local:grace"), KEY), find_key)


@pytest.mark.parametrize("public_key", [b"", b"short", b"\xff" * 33])
def test_a_broken_key_in_the_ledger_is_a_refusal(public_key: bytes) -> None:
    """A row that holds no key lets nothing through."""
    broken = replace(KNOWN, public_key=public_key)

    with pytest.raises(BadSignature, match="does not fit"):
        open_envelope(ENVELOPE, lambda _: broken)


@pytest.mark.parametrize(
    "alg",
    ["none", "nOnE", "NONE", "", "HS256", "HS384", "HS512", "EdDSA", "Ed448", "ES256", "RS256", "ed25519", None, 1, []],
)
def test_no_other_algorithm_is_considered(alg: object) -> None:
    """The header cannot choose: with any other algorithm not even the key is looked up."""
    with pytest.raises(BadSignature, match="only algorithm"):
        open_envelope(signed(header(alg=alg), encode(REQUEST).encode()), never)


def test_no_algorithm_is_no_algorithm() -> None:
    """A header that names none is refused too."""
    with pytest.raises(BadSignature, match="only algorithm"):
        open_envelope(signed(json.dumps({"kid": KEY.key_id}).encode(), encode(REQUEST).encode()), never)


def test_an_unsigned_envelope_is_refused() -> None:
    """The unsecured form of RFC 7515, with alg none and without a signature, is not an envelope."""
    head = b64(header(alg="none"))

    with pytest.raises(BadSignature):
        open_envelope(f"{head}.{b64(encode(REQUEST).encode())}.", never)


def hmac_signed(head: bytes, secret: bytes) -> str:
    """Sign with HS256 as an attacker would: joserfc itself takes no public key for a secret."""
    text = f"{b64(head)}.{b64(encode(REQUEST).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"


PUBLIC_FORMS = pytest.mark.parametrize(
    "secret", [KEY.public_key, OKP.as_pem(), json.dumps(OKP.as_dict()).encode()], ids=["raw", "pem", "jwk"]
)


@PUBLIC_FORMS
def test_the_public_key_is_no_secret(secret: bytes) -> None:
    """An HMAC keyed with the public key, in any of its forms, is refused: the old confusion of algorithms."""
    with pytest.raises(BadSignature, match="only algorithm"):
        open_envelope(hmac_signed(header(alg="HS256"), secret), never)


@PUBLIC_FORMS
def test_an_hmac_that_calls_itself_ed25519_is_refused(secret: bytes) -> None:
    """The same confusion with a header that lies about it fails at the signature."""
    with pytest.raises(BadSignature, match="does not fit"):
        open_envelope(hmac_signed(header(), secret), find_key)


def test_another_curve_is_refused() -> None:
    """An ECDSA signature over the same bytes does not pass for Ed25519."""
    ecdsa = jws.serialize_compact({"alg": "ES256"}, encode(REQUEST), ECKey.generate_key("P-256"))

    with pytest.raises(BadSignature, match="does not fit"):
        open_envelope(f"{b64(header())}.{ecdsa.split('.', 1)[1]}", find_key)


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": OKP.as_dict()},
        {"jku": "https://keys.example/jwks.json"},
        {"x5u": "https://keys.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"crit": ["kid"]},
        {"typ": "JWT"},
        {CANARY: 1},
    ],
)
def test_a_header_brings_nothing_else(extra: dict[str, object]) -> None:
    """Keys, addresses of keys and extensions in the header are refused before they are looked at."""
    with pytest.raises(BadSignature, match="nothing else") as refused:
        open_envelope(signed(header(**extra), encode(REQUEST).encode()), never)

    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("kid", [None, 1, "", "a\x00b", "a b", "a" * 129, "../../etc/passwd", "é", "' OR 1=1 --", []])
def test_a_kid_is_a_plain_word(kid: object) -> None:
    """What cannot be the id of a key is not looked up."""
    with pytest.raises(BadSignature, match="kid"):
        open_envelope(signed(header(kid=kid), encode(REQUEST).encode()), never)


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg": "Ed25519", "alg": "none", "kid": "a"}',
        b'{"alg": "none", "alg": "Ed25519", "kid": "a"}',
        b'{"alg": "Ed25519", "kid": "a", "kid": "b"}',
        b"[]",
        b"[" * 380,
        b'{"alg": "Ed25519", "kid": NaN}',
    ],
)
def test_a_header_is_strict_json(head: bytes) -> None:
    """Two values for one key, of which two readers could believe different ones, are refused."""
    with pytest.raises(BadSignature, match="strict JSON"):
        open_envelope(signed(head, encode(REQUEST).encode()), never)


def test_duplicate_keys_are_refused_though_signed() -> None:
    """A request that names its target twice is refused even from a known key."""
    payload = encode(REQUEST).replace('"target"', '"target": "other", "target"', 1).encode()

    with pytest.raises(BadRequest, match="strict JSON"):
        open_envelope(signed(header(), payload), find_key)


def test_unknown_fields_are_refused_though_signed() -> None:
    """A request that asks for more than a request can is refused even from a known key."""
    payload = json.dumps({**json.loads(encode(REQUEST)), "force": True}).encode()

    with pytest.raises(BadRequest, match="not a command"):
        open_envelope(signed(header(), payload), find_key)


def test_a_bad_reason_is_refused_though_signed() -> None:
    """The rules of a request hold for known keys too."""
    with pytest.raises(BadName, match="reason"):
        open_envelope(sign(replace(REQUEST, reason="two\nlines"), KEY), find_key)


def padded(length: int) -> str:
    """Return an envelope that is proper but for its white space, as close to the length as base64 allows."""
    empty = len(signed(header(), b""))
    payload = encode(REQUEST).encode()
    return signed(header(), payload.ljust((length - empty) * 3 // 4))


def test_the_largest_envelope_passes() -> None:
    """64 KiB are allowed; the library underneath has no smaller limit."""
    envelope = padded(MAX_ENVELOPE)
    assert MAX_ENVELOPE - 2 <= len(envelope) <= MAX_ENVELOPE

    assert open_envelope(envelope, find_key) == REQUEST


def test_an_oversize_envelope_is_refused_unread() -> None:
    """Above 64 KiB nothing is decoded and no key is looked up."""
    with pytest.raises(BadSignature, match="64 KiB"):
        open_envelope(padded(MAX_ENVELOPE + 4), never)


def test_an_oversize_header_is_refused_unread() -> None:
    """A header is short; a long one is not even parsed."""
    with pytest.raises(BadSignature, match="compact JWS"):
        open_envelope(signed(header(kid="a" * 500), encode(REQUEST).encode()), never)


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(f"postgresql://app:{CANARY}@db/goodbuy_hq", id="dsn"),
        pytest.param(f"{CANARY}.{CANARY}.{CANARY}", id="parts"),
        pytest.param(signed(header(alg=CANARY), b"{}"), id="alg"),
        pytest.param(signed(header(kid=CANARY), b"{}"), id="kid"),
        pytest.param(signed(header(**{CANARY: CANARY}), b"{}"), id="header"),
        pytest.param(signed(header(), CANARY.encode()), id="payload"),
        pytest.param(signed(header(), json.dumps({CANARY: CANARY}).encode()), id="field"),
        pytest.param(sign(replace(REQUEST, issuer=CANARY), KEY), id="issuer"),
        pytest.param(sign(replace(REQUEST, reason=CANARY + "\n"), KEY), id="reason"),
    ],
)
def test_a_refusal_repeats_nothing(envelope: str) -> None:
    """No message and no chained error holds a word of what was refused."""
    with pytest.raises((BadSignature, BadRequest, BadName)) as refused:
        open_envelope(envelope, find_key)

    assert CANARY not in "".join(traceback.format_exception(refused.value))
