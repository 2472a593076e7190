"""Forging: envelopes bit by bit, as no honest producer makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ledger.statements import Statement, encode
from producers.keys import PrivateKey

#: The order of Ed25519's base point: S and S + L sign the same for a verifier that does not look.
ORDER = 2**252 + 27742317777372353535851937790883648493
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(data: bytes | str) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()


def unb64(text: str) -> bytes:
    """Return what `b64` was given."""
    return urlsafe_b64decode(text.encode())


def fields_of(statement: Statement, /, **changes: object) -> dict[str, Any]:
    """Return a statement as the dictionary that is signed, with some entries changed."""
    return {**json.loads(encode(statement)), **changes}


def forge(key: PrivateKey, header: Mapping[str, object] | bytes, payload: Mapping[str, object] | bytes | str) -> str:
    """Sign any header and any payload, correctly."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = json.dumps(payload) if isinstance(payload, Mapping) else payload
    signed = f"{b64(head)}.{b64(body)}"
    return f"{signed}.{b64(_private(key).sign(signed.encode()))}"


def proper(key: PrivateKey) -> dict[str, object]:
    """Return the header that a key's envelopes have."""
    return {"alg": "Ed25519", "kid": key.key_id}


def signed(key: PrivateKey, payload: Mapping[str, object] | bytes | str) -> str:
    """Sign any payload under a proper header."""
    return forge(key, proper(key), payload)


def with_signature(envelope: str, signature: bytes | str) -> str:
    """Put another signature under an envelope."""
    text = signature if isinstance(signature, str) else b64(signature)
    return f"{envelope.rpartition('.')[0]}.{text}"


def signature_of(envelope: str) -> bytes:
    """Return the 64 bytes of an envelope's signature."""
    return unb64(envelope.rpartition(".")[2])


def malleated(envelope: str) -> str:
    """Add the group's order to S: the same signature to a verifier that does not look."""
    signature = signature_of(envelope)
    s = int.from_bytes(signature[32:], "little") + ORDER
    return with_signature(envelope, signature[:32] + s.to_bytes(32, "little"))


def other_bits(part: str) -> str:
    """Flip the last bit of a base64url text, which decodes to the same where its last character has bits to spare."""
    return part[:-1] + _ALPHABET[_ALPHABET.index(part[-1]) ^ 1]


def _private(key: PrivateKey) -> Ed25519PrivateKey:
    private = key.okp.private_key
    assert isinstance(private, Ed25519PrivateKey)
    return private
