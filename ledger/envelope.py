"""The envelope: a statement as a compact JWS, signed with Ed25519 by a key that the ledger knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc.util import urlsafe_b64decode
from sqlalchemy import Connection, text

from ledger import keys
from ledger.errors import BadSignature, Expired
from ledger.keys import SigningKey
from ledger.request import Request
from ledger.statements import Statement, decode, strict_json

#: The one algorithm, by its fully specified name (RFC 9864); the sender has no say in it.
ALGORITHM = "Ed25519"
#: Longest envelope in characters, all of them ASCII.
MAX_ENVELOPE = 64 * 1024
#: Longest header in characters, encoded; the limit of joserfc.
MAX_HEADER = 512
#: How far the clock of whoever signs may run ahead of the ledger's.
MAX_AHEAD = timedelta(minutes=5)

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NOW = text("SELECT now()")

_S = TypeVar("_S", bound=Statement)


def open_envelope(envelope: str, find_key: Callable[[str], SigningKey | None]) -> Request:
    """Return the request that a known key signed; see `open_statement`."""
    return open_statement(Request, envelope, find_key)


def open_statement(kind: type[_S], envelope: str, find_key: Callable[[str], SigningKey | None]) -> _S:
    """Return the statement that a known key signed. No error repeats anything of the text, which may hold a password.

    Args:
        kind: What it is to be.
        envelope: The compact JWS, at most 64 KiB.
        find_key: Finds a key by its id; those revoked or expired too, so that the message can say so.

    Raises:
        BadSignature: It is not an envelope, or no key in use signed it.
        BadRequest: What is signed is not such a statement.
        BadName: The reason is too long, or not plain text.
    """
    header, payload = _split(envelope, kind.what)
    key = _key(header, find_key, kind.what)
    _verify(envelope, key, kind.what)
    statement = decode(kind, payload)
    # A relay's key speaks for those behind it: that of `outbox:shop` for `outbox:shop/billing`.
    if statement.issuer != key.issuer and not statement.issuer.startswith(f"{key.issuer}/"):
        raise BadSignature(f"the {kind.what} names another issuer than that of the key which signed it")
    return statement


def believe(conn: Connection, kind: type[_S], envelope: str, installation: UUID) -> _S:
    """Return a statement that a key in use signed for this installation, and for this moment.

    Args:
        conn: The ledger, whose keys and whose clock count.
        kind: What it is to be.
        envelope: The compact JWS.
        installation: The id of this installation.

    Raises:
        BadSignature, BadRequest, BadName: As for `open_statement`.
        Expired: Its time has passed, or has not come.
    """
    statement = open_statement(kind, envelope, lambda key_id: keys.find_key(conn, key_id))
    check_meant_now(conn, statement, installation)
    return statement


def check_meant_now(conn: Connection, statement: Statement, installation: UUID) -> None:
    """See that a statement is meant for this installation and for this moment, by the ledger's clock.

    Raises:
        BadSignature, Expired: As for `check_meant`.
    """
    check_meant(statement, installation, conn.execute(_NOW).scalar_one())


def check_meant(statement: Statement, installation: UUID, now: datetime) -> None:
    """See that a statement is meant for this installation and for this moment.

    Raises:
        BadSignature: It was signed for another installation.
        Expired: Its time has passed, or has not come.
    """
    if statement.audience != str(installation):
        raise BadSignature(f"the {statement.what} is meant for another installation; sign it with the id of this one")
    if statement.not_after <= now:
        raise Expired(f"the time until which the {statement.what} counts has passed; sign a new one")
    if statement.issued_at > now + MAX_AHEAD:
        raise Expired(f"the {statement.what} was signed in the future; set the clock of the machine that signed it")


def _split(envelope: str, what: str) -> tuple[dict[str, Any], bytes]:
    if len(envelope) > MAX_ENVELOPE:
        raise BadSignature(f"the envelope is longer than {MAX_ENVELOPE // 1024} KiB")
    parts = _COMPACT.fullmatch(envelope)
    if parts is None or len(parts[1]) > MAX_HEADER:
        raise BadSignature(f"the envelope is not a compact JWS; sign the {what} with a registered key")
    try:
        header, payload = (urlsafe_b64decode(part.encode()) for part in parts.group(1, 2))
    except ValueError:
        raise BadSignature("the envelope is not proper base64url") from None
    return strict_json("header", header, BadSignature), payload


def _key(header: dict[str, Any], find_key: Callable[[str], SigningKey | None], what: str) -> SigningKey:
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
        raise BadSignature(f"the {what} is signed with a key that is not registered here")
    if key.revoked_at is not None:
        raise BadSignature(f"the {what} is signed with a key that was revoked; use another")
    if key.expired:
        raise BadSignature(f"the {what} is signed with a key whose time has passed; register a new one")
    return key


def _verify(envelope: str, key: SigningKey, what: str) -> None:
    # RFC 7515, 5.2: the form, the header and its algorithm have been judged above; this is what is left of it.
    signed, _, signature = envelope.rpartition(".")
    try:
        public = Ed25519PublicKey.from_public_bytes(key.public_key)
        public.verify(urlsafe_b64decode(signature.encode()), signed.encode())
    except (InvalidSignature, ValueError):
        raise BadSignature(f"the signature does not fit the {what}: it was changed, or another key made it") from None
