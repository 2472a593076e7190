"""Signing keys: registered once, never replaced in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from ledger import audit
from ledger.database import transaction
from ledger.errors import NotAllowed
from ledger.keys import find_key, register_key

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_a_registered_key_is_found(ledger_engine: Engine) -> None:
    """With its issuer and its bytes, and not revoked."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", b"\x00\xff")

        key = find_key(conn, "k1")

    assert key is not None
    assert (key.key_id, key.issuer, key.public_key, key.revoked_at) == ("k1", "operator", b"\x00\xff", None)


def test_an_unknown_key_is_not_found(ledger_engine: Engine) -> None:
    """Nothing is made up."""
    with transaction(ledger_engine) as conn:
        assert find_key(conn, "k1") is None


def test_registering_is_audited_once(ledger_engine: Engine) -> None:
    """The same key again changes nothing, so there is nothing to tell."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", b"one")
        register_key(conn, "k1", "operator", b"one")

        events = list(audit.read(conn))

    assert [(event.type, event.actor, event.detail["key_id"]) for event in events] == [
        ("key_registered", "operator", "k1")
    ]


@pytest.mark.parametrize(("issuer", "public_key"), [("operator", b"two"), ("intruder", b"one")])
def test_a_key_is_never_replaced(ledger_engine: Engine, issuer: str, public_key: bytes) -> None:
    """Another key, or another issuer, under a known id is refused."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", b"one")

        with pytest.raises(NotAllowed):
            register_key(conn, "k1", issuer, public_key)


def test_a_revoked_key_does_not_come_back(ledger_engine: Engine) -> None:
    """It stays known as revoked, and registering it again is refused."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", b"one")
        conn.execute(text("UPDATE ledger.signing_keys SET revoked_at = clock_timestamp()"))

        key = find_key(conn, "k1")

        assert key is not None
        assert key.revoked_at is not None
        with pytest.raises(NotAllowed, match="revoked"):
            register_key(conn, "k1", "operator", b"one")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger.signing_keys SET public_key = ''", "DELETE FROM ledger.signing_keys"],
)
def test_the_processes_cannot_change_a_key(ledger_engine: Engine, statement: str) -> None:
    """All they may do to a registered key is revoke it."""
    with pytest.raises(ProgrammingError) as refusal, transaction(ledger_engine) as conn:
        conn.execute(text(statement))

    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
