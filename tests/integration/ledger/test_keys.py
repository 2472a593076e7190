"""Signing keys: registered once, never replaced in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from ledger import audit
from ledger.database import transaction
from ledger.errors import BadKey, NotAllowed, UnknownKey
from ledger.keys import find_key, register_key, revoke_key, thumbprint
from tests.signing import key_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

ONE, TWO = key_of("one").public_key, key_of("two").public_key


def test_a_registered_key_is_found(ledger_engine: Engine) -> None:
    """With its issuer and its bytes, and not revoked."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE)

        key = find_key(conn, "k1")

    assert key is not None
    assert (key.key_id, key.issuer, key.public_key, key.revoked_at) == ("k1", "operator", ONE, None)


def test_an_unknown_key_is_not_found(ledger_engine: Engine) -> None:
    """Nothing is made up."""
    with transaction(ledger_engine) as conn:
        assert find_key(conn, "k1") is None


def test_registering_is_audited_once(ledger_engine: Engine) -> None:
    """The same key again changes nothing, so there is nothing to tell."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE)
        register_key(conn, "k1", "operator", ONE)

        events = list(audit.read(conn))

    assert [(event.type, event.actor, event.detail["key_id"]) for event in events] == [
        ("key_registered", "operator", "k1")
    ]


@pytest.mark.parametrize(("issuer", "key"), [("operator", "two"), ("intruder", "one")])
def test_a_key_is_never_replaced(ledger_engine: Engine, issuer: str, key: str) -> None:
    """Another key, or another issuer, under a known id is refused."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE)

        with pytest.raises(NotAllowed):
            register_key(conn, "k1", issuer, key_of(key).public_key)


def test_a_revoked_key_does_not_come_back(ledger_engine: Engine) -> None:
    """It stays known as revoked, and registering it again is refused."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE)
        conn.execute(text("UPDATE ledger.signing_keys SET revoked_at = clock_timestamp()"))

        key = find_key(conn, "k1")

        assert key is not None
        assert key.revoked_at is not None
        with pytest.raises(NotAllowed, match="revoked"):
            register_key(conn, "k1", "operator", ONE)


@pytest.mark.parametrize("seconds", [-1, 3600])
def test_a_key_expires(ledger_engine: Engine, seconds: int) -> None:
    """By the ledger's clock, from the moment that was said when it was registered."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE, expires_at=until)

        key = find_key(conn, "k1")

    assert key is not None
    assert (key.expires_at, key.expired) == (until, seconds < 0)


#: Points of small order, in the encodings that OpenSSL takes: the neutral one, and those of order 2, 4 and 8.
WEAK = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@pytest.mark.parametrize("point", WEAK)
def test_a_key_with_which_anybody_signs_is_refused(ledger_engine: Engine, point: str) -> None:
    """Of a point of small order signatures verify that nobody made."""
    with transaction(ledger_engine) as conn, pytest.raises(BadKey, match="anybody"):
        register_key(conn, "k1", "operator", bytes.fromhex(point))


@pytest.mark.parametrize("public_key", [b"", b"short", bytes(33)])
def test_what_is_no_key_is_refused(ledger_engine: Engine, public_key: bytes) -> None:
    """A public key has 32 bytes."""
    with transaction(ledger_engine) as conn, pytest.raises(BadKey, match="32 bytes"):
        register_key(conn, "k1", "operator", public_key)


def test_revoking_is_audited_once(ledger_engine: Engine) -> None:
    """Who has done it stands there; a second time changes nothing."""
    with transaction(ledger_engine) as conn:
        register_key(conn, "k1", "operator", ONE)

        assert revoke_key(conn, "k1", actor="local:ada")
        assert not revoke_key(conn, "k1", actor="local:ada")

        (event,) = [event for event in audit.read(conn) if event.type == "key_revoked"]
    assert (event.actor, event.detail) == ("local:ada", {"key_id": "k1", "issuer": "operator"})


def test_an_unknown_key_cannot_be_revoked(ledger_engine: Engine) -> None:
    """A slip of the fingers must not look like a revocation."""
    with transaction(ledger_engine) as conn, pytest.raises(UnknownKey):
        revoke_key(conn, "k1", actor="local:ada")


def test_an_id_is_the_thumbprint_of_the_key() -> None:
    """As the library that signs computes it."""
    key = key_of("one")

    assert thumbprint(key.public_key) == key.key_id


@pytest.mark.parametrize(
    "statement",
    ["UPDATE ledger.signing_keys SET public_key = ''", "DELETE FROM ledger.signing_keys"],
)
def test_the_processes_cannot_change_a_key(ledger_engine: Engine, statement: str) -> None:
    """All they may do to a registered key is revoke it."""
    with pytest.raises(ProgrammingError) as refusal, transaction(ledger_engine) as conn:
        conn.execute(text(statement))

    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
