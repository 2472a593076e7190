"""Attacks on the signature: algorithm, key id, signature, encoding, serialisation and header."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from ledger.database import transaction
from ledger.keys import register_key, revoke_key
from producers.envelope import sign
from producers.keys import PrivateKey
from tests.integration.producers.forging import (
    b64,
    fields_of,
    forge,
    malleated,
    other_bits,
    proper,
    signature_of,
    signed,
    unb64,
    with_signature,
)
from tests.integration.producers.scene import BILLING, CAREFUL, MARK, Attack, Scene

_CODE = "bad_signature"


def _header(name: str, **changes: object) -> Attack:
    """Sign a proper request correctly, under a header with some entries changed; None takes one out."""

    def make(scene: Scene) -> str:
        key = scene.key(BILLING)
        header = {**proper(key), **changes}
        return forge(key, {k: v for k, v in header.items() if v is not _ABSENT}, fields_of(scene.request()))

    return Attack(name, _CODE, make)


_ABSENT = object()


def _raw_header(name: str, change: Callable[[bytes], bytes]) -> Attack:
    """Sign a proper request correctly, under a header of other bytes."""

    def make(scene: Scene) -> str:
        key = scene.key(BILLING)
        return forge(key, change(json.dumps(proper(key)).encode()), fields_of(scene.request()))

    return Attack(name, _CODE, make)


def _changed(name: str, change: Callable[[str], str], code: str = _CODE) -> Attack:
    """Change the text of a properly signed envelope."""
    return Attack(name, code, lambda scene: change(scene.envelope()))


def _part(place: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def of(envelope: str) -> str:
        parts = envelope.split(".")
        parts[place] = change(parts[place])
        return ".".join(parts)

    return of


def _unsigned(scene: Scene) -> str:
    key = scene.key(BILLING)
    return f"{b64(json.dumps({'alg': 'none', 'kid': key.key_id}))}.{b64(json.dumps(fields_of(scene.request())))}."


def _hmac(scene: Scene) -> str:
    """Use the public key, which is no secret, as the secret of an HMAC."""
    key = scene.key(BILLING)
    secret = OctKey.import_key({"kty": "oct", "k": b64(key.public_key)})
    return jws.serialize_compact({"alg": "HS256", "kid": key.key_id}, json.dumps(fields_of(scene.request())), secret)


def _stranger() -> PrivateKey:
    """Return a key that nobody registered."""
    return PrivateKey.of(OKPKey.generate_key("Ed25519"), BILLING)


def _embedded_key(scene: Scene) -> str:
    """Bring the key along that verifies the signature."""
    key = _stranger()
    header = {"alg": "Ed25519", "kid": scene.key(BILLING).key_id, "jwk": key.okp.as_dict(private=False)}
    return forge(key, header, fields_of(scene.request()))


def _swapped(scene: Scene) -> str:
    return with_signature(scene.envelope(), signature_of(scene.envelope()))


def _other_payload(scene: Scene) -> str:
    parts = scene.envelope().split(".")
    parts[1] = scene.envelope(target="goodbuy_test").split(".")[1]
    return ".".join(parts)


def _plain_alphabet(scene: Scene) -> str:
    """Spell one of the two characters in which base64 and base64url differ as base64 does."""
    while True:
        head, body, signature = scene.envelope().split(".")
        if "-" in signature or "_" in signature:
            return f"{head}.{body}.{signature.replace('-', '+').replace('_', '/')}"


def _json(scene: Scene) -> str:
    protected, payload, signature = scene.envelope().split(".")
    return json.dumps({"payload": payload, "signatures": [{"protected": protected, "signature": signature}]})


def _flattened(scene: Scene) -> str:
    protected, payload, signature = scene.envelope().split(".")
    return json.dumps({"payload": payload, "protected": protected, "signature": signature})


def _revoked(scene: Scene) -> str:
    key = PrivateKey.of(OKPKey.generate_key("Ed25519"), BILLING)
    with transaction(scene.engine) as conn:
        register_key(conn, key.key_id, BILLING, key.public_key)
        revoke_key(conn, key.key_id, actor="local:ada")
    return sign(scene.request(), key)


def _expired(scene: Scene) -> str:
    key = PrivateKey.of(OKPKey.generate_key("Ed25519"), BILLING)
    with transaction(scene.engine) as conn:
        past = datetime.now(UTC) - timedelta(seconds=1)
        register_key(conn, key.key_id, BILLING, key.public_key, expires_at=past)
    return sign(scene.request(), key)


def _small_order(scene: Scene) -> str:
    """Sign with the neutral point: R = 1, S = 0 fits every text where nobody looks, but the key is not registered."""
    envelope = forge(_stranger(), {"alg": "Ed25519", "kid": "neutral"}, fields_of(scene.request()))
    return with_signature(envelope, b"\x01" + bytes(63))


ATTACKS = (
    # -- algorithm
    Attack("alg none, unsigned", _CODE, _unsigned),
    Attack("alg none, with some signature", _CODE, lambda scene: f"{_unsigned(scene)}AAAA"),
    Attack("alg HS256, keyed with the public key", _CODE, _hmac),
    _header("alg EdDSA", alg="EdDSA"),
    _header("alg RS256", alg="RS256"),
    _header("alg ES256", alg="ES256"),
    _header("alg Ed448", alg="Ed448"),
    _header("alg none, signed properly", alg="none"),
    _header("alg NONE, signed properly", alg="NONE"),
    _header("alg in lower case", alg="ed25519"),
    _header("alg with a space", alg="Ed25519 "),
    _header("alg in a list", alg=["Ed25519"]),
    _header("alg null", alg=None),
    _header("alg absent", alg=_ABSENT),
    # -- keys and extensions of its own
    Attack("jwk brought along", _CODE, _embedded_key),
    _header("jku", jku=f"https://{MARK}.example/keys"),
    _header("x5u", x5u=f"https://{MARK}.example/chain"),
    _header("x5c", x5c=[MARK]),
    _header("crit", crit=["exp"], exp=1),
    _header("crit, empty", crit=[]),
    _header("b64 false", b64=False, crit=["b64"]),
    _header("zip", zip="DEF"),
    _header("typ", typ=MARK),
    _header("a header of its own", note=MARK),
    # -- key id
    _header("kid with SQL", kid="x' OR '1'='1"),
    _header("kid with SQL and a comment", kid="'; DROP TABLE ledger.signing_keys; --"),
    _header("kid with a path", kid="../../../../dev/null"),
    _header("kid with a wildcard", kid="%"),
    _header("kid of 1 MB", kid="k" * 1_000_000),
    _header("kid of 300 characters", kid="k" * 300),
    _header("kid in Cyrillic", kid="\u043a\u043b\u044e\u0447"),
    _header("kid with NUL", kid="k\0"),
    _header("kid with a line break", kid=f"k\n{MARK}"),
    _header("kid with half of a surrogate pair", kid="\ud800"),
    _header("kid null", kid=None),
    _header("kid in a list", kid=["k"]),
    _header("kid an object", kid={"$ne": ""}),
    _header("kid a number", kid=1),
    _header("kid true", kid=True),
    _header("kid empty", kid=""),
    _header("kid absent", kid=_ABSENT),
    Attack(
        "kid of another issuer's key",
        _CODE,
        lambda scene: forge(scene.key(BILLING), proper(scene.key(CAREFUL)), fields_of(scene.request(CAREFUL))),
    ),
    Attack("unknown key", _CODE, lambda scene: sign(scene.request(), _stranger())),
    Attack("revoked key", _CODE, _revoked),
    Attack("expired key", _CODE, _expired),
    Attack("key of small order", _CODE, _small_order),
    # -- signature
    _changed("signature stripped", lambda e: with_signature(e, "")),
    _changed("signature and its dot stripped", lambda e: e.rpartition(".")[0]),
    Attack("signature of another envelope", _CODE, _swapped),
    Attack("payload of another envelope", _CODE, _other_payload),
    _changed("signature cut by a byte", lambda e: with_signature(e, signature_of(e)[:-1])),
    _changed("signature cut to half", lambda e: with_signature(e, signature_of(e)[:32])),
    _changed("signature longer by a byte", lambda e: with_signature(e, signature_of(e) + b"\0")),
    _changed("signature twice", lambda e: with_signature(e, signature_of(e) * 2)),
    _changed("signature of zeros", lambda e: with_signature(e, bytes(64))),
    _changed("signature of ones", lambda e: with_signature(e, b"\xff" * 64)),
    _changed(
        "signature with its halves swapped", lambda e: with_signature(e, signature_of(e)[32:] + signature_of(e)[:32])
    ),
    _changed("signature with S + L", malleated),
    _changed(
        "one bit of the payload", _part(1, lambda p: b64(bytes([*unb64(p)[:-2], unb64(p)[-2] ^ 1, unb64(p)[-1]])))
    ),
    # -- base64url
    _changed("signature padded", lambda e: f"{e}=="),
    _changed("header padded", _part(0, lambda p: f"{p}=")),
    Attack("alphabet of plain base64", _CODE, _plain_alphabet),
    _changed("spare bits of the signature", other_bits),
    _changed("spare bits of the payload", _part(1, other_bits)),
    _changed("a character too many", lambda e: f"{e}A"),
    _changed("space in the middle", lambda e: e.replace(".", ". ", 1)),
    _changed("space in front", lambda e: f" {e}"),
    _changed("line break at the end", lambda e: f"{e}\n"),
    _changed("line break in the signature", lambda e: f"{e[:-4]}\r\n{e[-4:]}"),
    _changed("NUL at the end", lambda e: f"{e}\0"),
    _changed("BOM in front", lambda e: f"\ufeff{e}"),
    _changed("half of a surrogate pair at the end", lambda e: f"{e}\udc80"),
    _changed("full-width letters", lambda e: e.replace("A", "\uff21").replace("e", "\uff45")),
    _changed("full-width dots", lambda e: e.replace(".", "\uff0e")),
    # -- serialisation
    Attack("JSON serialisation", _CODE, _json),
    Attack("flattened JSON serialisation", _CODE, _flattened),
    _changed("detached payload", _part(1, lambda _: "")),
    _changed("two payloads", _part(1, lambda p: f"{p}.{p}")),
    _changed("five parts, as encrypted", lambda e: f"{e}.AAAA.AAAA"),
    _changed("two envelopes", lambda e: f"{e}\n{e}"),
    _changed("two envelopes with a comma", lambda e: f"{e},{e}"),
    _changed("Bearer in front", lambda e: f"Bearer {e}"),
    _changed("nothing", lambda _: ""),
    _changed("dots", lambda _: ".."),
    _changed("64 KiB and 1", lambda _: "a" * (64 * 1024 + 1)),
    _changed("a megabyte of dots", lambda _: "." * 1_000_000),
    Attack(
        "64 KiB and 1, signed properly",
        _CODE,
        lambda scene: signed(scene.key(BILLING), json.dumps(fields_of(scene.request())) + " " * 48_900),
    ),
    # -- header
    _raw_header("header with a BOM", lambda h: b"\xef\xbb\xbf" + h),
    _raw_header("header in UTF-16", lambda h: h.decode().encode("utf-16")),
    _raw_header("header with alg twice", lambda h: b'{"alg":"none",' + h[1:]),
    _raw_header("header with kid twice", lambda h: h[:-1] + b',"kid":"other"}'),
    _raw_header("header in a list", lambda h: b"[" + h + b"]"),
    _raw_header("header twice", lambda h: h + h),
    _raw_header("header empty", lambda _: b"{}"),
    _raw_header("header not an object", lambda _: b"null"),
    _raw_header("header with NaN", lambda h: h[:-1] + b',"x":NaN}'),
    _raw_header("header nested deep", lambda _: b"[" * 380),
    _raw_header("header not UTF-8", lambda h: h[:-1] + b',"x":"\xff"}'),
)
