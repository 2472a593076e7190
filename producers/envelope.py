"""The envelope: a request as a compact JWS, signed with Ed25519 by a key that the ledger knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ledger.errors import BadSignature
from ledger.keys import SigningKey
from producers.keys import PrivateKey
from producers.request import Request, decode, encode, strict_json

__all__ = ["Request", "open_envelope", "sign"]

#: The one algorithm, by its fully specified name (RFC 9864); the sender has no say in it.
ALGORITHM = "Ed25519"
#: Longest envelope in characters, all of them ASCII.
MAX_ENVELOPE = 64 * 1024
#: Longest header in characters, encoded; the limit of joserfc.
MAX_HEADER = 512

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def sign(request: Request, key: PrivateKey) -> str:
    """Return the request as a compact JWS. Whether it is a proper one is decided where it is opened.

    Args:
        request: What is asked; its times are aware.
        key: Signs it; its id becomes the `kid`.
    """
    header = {"alg": ALGORITHM, "kid": key.key_id}
    return jws.serialize_compact(header, encode(request), key.okp, algorithms=[ALGORITHM])


def open_envelope(text: str, find_key: Callable[[str], SigningKey | None]) -> Request:
    """Return the request that a known key signed. No error repeats anything of the text, which may hold a password.

    Args:
        text: The compact JWS, at most 64 KiB.
        find_key: Finds a key by its id; revoked ones too, so that the message can say so.

    Raises:
        BadSignature: It is not an envelope, or no key in use signed it.
        BadRequest: What is signed is not a request.
        BadName: The reason is too long, or not plain text.
    """
    header, payload = _split(text)
    key = _key(header, find_key)
    _verify(text, key)
    request = decode(payload)
    if request.issuer != key.issuer:
        raise BadSignature("the command names another issuer than that of the key which signed it")
    return request


def _split(text: str) -> tuple[dict[str, Any], bytes]:
    if len(text) > MAX_ENVELOPE:
        raise BadSignature(f"the envelope is longer than {MAX_ENVELOPE // 1024} KiB")
    parts = _COMPACT.fullmatch(text)
    if parts is None or len(parts[1]) > MAX_HEADER:
        raise BadSignature("the envelope is not a compact JWS; sign the command with a registered key")
    try:
        header, payload = (urlsafe_b64decode(part.encode()) for part in parts.group(1, 2))
    except ValueError:
        raise BadSignature("the envelope is not proper base64url") from None
    return strict_json("header", header, BadSignature), payload


def _key(header: dict[str, Any], find_key: Callable[[str], SigningKey | None]) -> SigningKey:
    """Find the key. The header is judged first: no other algorithm, no key of its own, no extension."""
    if header.get("alg") != ALGORITHM:
        raise BadSignature(f"the envelope is not signed with {ALGORITHM}, the only algorithm allowed")
    if header.keys() != {"alg", "kid"}:
        raise BadSignature("the header of the envelope has to hold alg and kid and nothing else")
    key_id = header["kid"]
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise BadSignature("the kid of the envelope cannot be the id of a key")
    key = find_key(key_id)
    if key is None:
        raise BadSignature("the command is signed with a key that is not registered here")
    if key.revoked_at is not None:
        raise BadSignature("the command is signed with a key that was revoked; use another")
    return key


def _verify(text: str, key: SigningKey) -> None:
    x = urlsafe_b64encode(key.public_key).decode()
    try:
        public = OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "x": x})
        jws.deserialize_compact(text, public, algorithms=[ALGORITHM])
    except (JoseError, ValueError):
        # The library's words may hold parts of the header.
        raise BadSignature("the signature does not fit the command: it was changed, or another key made it") from None
