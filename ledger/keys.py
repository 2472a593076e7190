"""Whose signatures are accepted: public keys by their id."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, text

from ledger.audit import append
from ledger.canonical import sha256
from ledger.errors import BadKey, NotAllowed, UnknownKey
from ledger.model import Event
from ledger.statements import check_issuer

if TYPE_CHECKING:
    from datetime import datetime

_REGISTER = text(
    """
    INSERT INTO ledger.signing_keys (key_id, issuer, public_key, expires_at)
    VALUES (:key_id, :issuer, :public_key, :expires_at)
    ON CONFLICT DO NOTHING
    RETURNING key_id
    """
)

_COLUMNS: Final = """
    key_id, issuer, public_key, created_at, revoked_at, expires_at,
    coalesce(expires_at <= clock_timestamp(), false) AS expired
"""
_FIND = text(f"SELECT {_COLUMNS} FROM ledger.signing_keys WHERE key_id = :key_id")
_LIST = text(f"SELECT {_COLUMNS} FROM ledger.signing_keys ORDER BY created_at, key_id")

_REVOKE = text(
    """
    UPDATE ledger.signing_keys SET revoked_at = clock_timestamp()
    WHERE key_id = :key_id AND revoked_at IS NULL
    RETURNING issuer
    """
)

#: So many messages a weak key is tried on: one of order 8 accepts a signature of nothing for one in eight.
_PROBES: Final = 256


@dataclass(frozen=True)
class SigningKey:
    """A public key that this installation knows."""

    key_id: str
    issuer: str
    public_key: bytes
    created_at: datetime
    #: From then on nothing signed with it is accepted.
    revoked_at: datetime | None
    #: The same, foreseen when it was registered.
    expires_at: datetime | None = None
    #: Whether that has come, by the ledger's clock.
    expired: bool = False


def thumbprint(public_key: bytes) -> str:
    """Return the id of a key: the RFC 7638 thumbprint of its 32 bytes, so that an id can mean one key only."""
    x = urlsafe_b64encode(public_key).rstrip(b"=").decode()
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    return urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()


def register_key(
    conn: Connection, key_id: str, issuer: str, public_key: bytes, *, expires_at: datetime | None = None
) -> None:
    """Accept a key's signatures from now on; the same key again changes nothing.

    Args:
        conn: A connection in a transaction.
        key_id: The `kid` of its signatures.
        issuer: Who signs with it.
        public_key: The public half, 32 bytes.
        expires_at: From then on nothing signed with it is accepted; None: until it is revoked.

    Raises:
        BadKey: It is no Ed25519 key, or one with which anybody can sign.
        BadRequest: The issuer cannot be one.
        NotAllowed: The id belongs to another key, or the key was revoked.
    """
    check_issuer(issuer)
    values = {"key_id": key_id, "issuer": issuer, "public_key": public_key, "expires_at": expires_at}
    known = find_key(conn, key_id)
    if known is None:
        _refuse_weak(public_key)
        if conn.execute(_REGISTER, values).one_or_none() is not None:
            detail = {"key_id": key_id, "issuer": issuer, "sha256": sha256(public_key)}
            append(conn, Event(type="key_registered", actor=issuer, outcome="ok", detail={**detail}))
            return
        known = find_key(conn, key_id)
    if known is None or (known.issuer, known.public_key) != (issuer, public_key):
        raise NotAllowed(
            f"the key {key_id} is registered for another issuer, or its id for another key; register a new key"
        )
    if known.revoked_at is not None:
        raise NotAllowed(f"the key {key_id!r} was revoked; register a new key under a new id")


def revoke_key(conn: Connection, key_id: str, *, actor: str) -> bool:
    """Accept nothing any more that is signed with a key; return whether anything did until now.

    Args:
        conn: A connection in a transaction.
        key_id: Which.
        actor: Who revokes it, for the audit log.

    Raises:
        UnknownKey: There is none of that id.
    """
    issuer = conn.execute(_REVOKE, {"key_id": key_id}).scalar_one_or_none()
    if issuer is None:
        if find_key(conn, key_id) is None:
            raise UnknownKey("no key of that id is registered; `stepback keys list` shows them")
        return False
    append(conn, Event("key_revoked", actor=actor, outcome="ok", detail={"key_id": key_id, "issuer": issuer}))
    return True


def find_key(conn: Connection, key_id: str) -> SigningKey | None:
    """Return a key by its id, one revoked or expired too; None if there is none."""
    row = conn.execute(_FIND, {"key_id": key_id}).one_or_none()
    return None if row is None else SigningKey(**row._asdict())


def list_keys(conn: Connection) -> list[SigningKey]:
    """Return every key, the oldest first, those revoked or expired too."""
    return [SigningKey(**row._asdict()) for row in conn.execute(_LIST)]


def _refuse_weak(public_key: bytes) -> None:
    """Refuse a point of small order: of those, a signature that nobody made verifies (RFC 8032 checks none of it)."""
    try:
        public = Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        raise BadKey("that is not a public Ed25519 key: it has 32 bytes") from None
    nothing = b"\x01" + bytes(63)
    for probe in range(_PROBES):
        try:
            public.verify(nothing, b"probe %d" % probe)
        except InvalidSignature:
            continue
        raise BadKey("with that key anybody could sign; make a new one with `stepback keys new`")
