"""Whose signatures are accepted: public keys by their id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from ledger.audit import append
from ledger.canonical import sha256
from ledger.errors import NotAllowed
from ledger.model import Event

if TYPE_CHECKING:
    from datetime import datetime

_REGISTER = text(
    """
    INSERT INTO ledger.signing_keys (key_id, issuer, public_key) VALUES (:key_id, :issuer, :public_key)
    ON CONFLICT DO NOTHING
    RETURNING key_id
    """
)

_FIND = text(
    "SELECT key_id, issuer, public_key, created_at, revoked_at FROM ledger.signing_keys WHERE key_id = :key_id"
)


@dataclass(frozen=True)
class SigningKey:
    """A public key that this installation knows."""

    key_id: str
    issuer: str
    public_key: bytes
    created_at: datetime
    #: From then on nothing signed with it is accepted.
    revoked_at: datetime | None


def register_key(conn: Connection, key_id: str, issuer: str, public_key: bytes) -> None:
    """Accept a key's signatures from now on; the same key again changes nothing.

    Args:
        conn: A connection in a transaction.
        key_id: The `kid` of its signatures.
        issuer: Who signs with it.
        public_key: The public half, as the producers encode it.

    Raises:
        NotAllowed: The id belongs to another key, or the key was revoked.
    """
    values = {"key_id": key_id, "issuer": issuer, "public_key": public_key}
    if conn.execute(_REGISTER, values).one_or_none() is not None:
        detail = {"key_id": key_id, "sha256": sha256(public_key)}
        append(conn, Event(type="key_registered", actor=issuer, outcome="ok", detail={**detail}))
        return
    known = find_key(conn, key_id)
    if known is None or (known.issuer, known.public_key) != (issuer, public_key):
        raise NotAllowed(f"the key id {key_id!r} belongs to another key; register the new key under a new id")
    if known.revoked_at is not None:
        raise NotAllowed(f"the key {key_id!r} was revoked; register a new key under a new id")


def find_key(conn: Connection, key_id: str) -> SigningKey | None:
    """Return a key by its id, a revoked one too; None if there is none."""
    row = conn.execute(_FIND, {"key_id": key_id}).one_or_none()
    return None if row is None else SigningKey(**row._asdict())
