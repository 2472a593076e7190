"""Signing: a statement as a compact JWS. Whoever it is meant for opens it with ledger/envelope.py."""

from __future__ import annotations

from joserfc import jws

from ledger.envelope import ALGORITHM
from ledger.statements import Statement, encode
from producers.keys import PrivateKey


def sign(statement: Statement, key: PrivateKey) -> str:
    """Return the statement as a compact JWS. Whether it is a proper one is decided where it is opened.

    Args:
        statement: What is said; its times are aware.
        key: Signs it; its id becomes the `kid`.
    """
    header = {"alg": ALGORITHM, "kid": key.key_id}
    return jws.serialize_compact(header, encode(statement), key.okp, algorithms=[ALGORITHM])
