"""What the client signs is what the house believes, and its key stays to itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from joserfc.jwk import ECKey, OKPKey
from joserfc.util import urlsafe_b64decode

from ledger.envelope import open_envelope, open_statement
from ledger.keys import SigningKey as KnownKey
from ledger.model import Kind, Policy
from ledger.statements import Access, Approval, Cancellation
from stepback_client import BadKey, Client, SigningKey
from tests.unit.producers.client.answering import COMMAND_ID, INSTALLATION, Server, accepted, run
from tests.unit.producers.client.conftest import ISSUER


def known(okp: OKPKey, key_id: str) -> KnownKey | None:
    """Return what the ledger keeps of a key, if it is the one of that id."""
    if key_id != okp.thumbprint():
        return None
    public = urlsafe_b64decode(str(okp.as_dict()["x"]).encode())
    return KnownKey(key_id=key_id, issuer=ISSUER, public_key=public, created_at=datetime.now(UTC), revoked_at=None)


def test_a_rollback_is_believed(client: Client, server: Server, okp: OKPKey) -> None:
    """The house opens a rollback that the client signed, and finds in it what was asked."""
    server.will(accepted)

    client.rollback(
        "add_health_alerts",
        target="goodbuy_hq",
        reason="kaputt, zurück",
        plan_sha256="5e" * 32,
        accept_sha256="1a" * 32,
        valid_for=timedelta(minutes=3),
    )

    request = open_envelope(server.asked[0].envelope, lambda key_id: known(okp, key_id))
    assert (request.kind, request.target, request.migration) == (Kind.ROLLBACK, "goodbuy_hq", "add_health_alerts")
    assert (request.reason, request.subject_run) == ("kaputt, zurück", None)
    assert (request.plan_sha256, request.accept_sha256) == ("5e" * 32, "1a" * 32)
    assert (request.audience, request.issuer) == (INSTALLATION, ISSUER)
    assert request.not_after - request.issued_at == timedelta(minutes=3)
    assert abs(request.issued_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_recovery_is_believed(client: Client, server: Server, okp: OKPKey) -> None:
    """A recovery names its run, and the target that the run is of."""
    server.will(run(), accepted)

    client.recover(7, reason="it was right after all", policy="aside")

    request = open_envelope(server.asked[1].envelope, lambda key_id: known(okp, key_id))
    assert (request.kind, request.target, request.subject_run) == (Kind.RECOVER, "goodbuy_hq", 7)
    assert (request.migration, request.policy) == (None, Policy.ASIDE)


def test_decisions_and_tokens_are_believed(client: Client, server: Server, okp: OKPKey) -> None:
    """The house opens an approval, a cancellation and a token, and finds in them the run that was looked at."""
    server.will(run("awaiting_approval"), run("queued"), run("cancelled"))

    seen = client.status(7)
    client.approve(seen, "looked through")
    client.cancel(seen, "not today")

    def find(key_id: str) -> KnownKey | None:
        return known(okp, key_id)

    reading, approving, cancelling = server.asked
    token = reading.headers["Authorization"].removeprefix("Bearer ")
    approval = open_statement(Approval, approving.envelope, find)
    cancellation = open_statement(Cancellation, cancelling.envelope, find)
    assert open_statement(Access, token, find).audience == INSTALLATION
    assert (approval.run, approval.plan_sha256, approval.impact_sha256) == (7, seen.plan_sha256, seen.impact_sha256)
    assert (str(approval.command_id), approval.target, approval.reason) == (COMMAND_ID, "goodbuy_hq", "looked through")
    assert (str(cancellation.command_id), cancellation.run, cancellation.reason) == (COMMAND_ID, 7, "not today")


def test_every_command_has_an_id_of_its_own(client: Client) -> None:
    """Two commands that say the same are two commands."""
    first, second = (client.sign("validate", target="goodbuy_hq", reason="") for _ in range(2))

    assert first != second


def test_the_installation_can_be_given(okp: OKPKey) -> None:
    """Who knows the installation signs without asking anybody."""
    here = "11111111-2222-4333-8444-555555555555"
    with Client("http://127.0.0.1:1", key=okp.as_pem(private=True), issuer=ISSUER, installation=here) as client:
        envelope = client.sign("validate", target="goodbuy_hq", reason="look")

    assert open_envelope(envelope, lambda key_id: known(okp, key_id)).audience == here


def test_a_time_that_is_over_is_not_signed(client: Client) -> None:
    """A command that nobody could carry out is not made."""
    with pytest.raises(ValueError, match="positive"):
        client.sign("validate", target="goodbuy_hq", reason="", valid_for=timedelta(0))


# -- the key ----------------------------------------------------------------


def test_a_key_is_read_from_its_file(okp: OKPKey, tmp_path: Path) -> None:
    """The file is PEM as openssl writes it; its id is the RFC 7638 thumbprint."""
    path = tmp_path / "billing.pem"
    path.write_bytes(okp.as_pem(private=True))

    assert SigningKey.read(path).key_id == okp.thumbprint()


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is named, with the reason."""
    with pytest.raises(BadKey, match=r"none\.pem cannot be read: No such file"):
        SigningKey.read(tmp_path / "none.pem")


@pytest.mark.parametrize("kind", ["public", "curve", "text"])
def test_what_is_no_private_key_is_refused(okp: OKPKey, kind: str) -> None:
    """A public key, a key of another curve and any other text are refused, and not repeated."""
    secret = "canary-7f3d9a"
    pem = {
        "public": okp.as_pem(private=False),
        "curve": ECKey.generate_key("P-256").as_pem(private=True),
        "text": secret.encode(),
    }[kind]

    with pytest.raises(BadKey, match="holds no private Ed25519 key") as caught:
        SigningKey.read(pem)

    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_is_not_shown(okp: OKPKey) -> None:
    """Who prints a key sees its id only."""
    key = SigningKey.read(okp.as_pem(private=True))

    assert repr(key) == f"SigningKey(key_id='{okp.thumbprint()}')"


def test_the_answer_is_typed(client: Client, server: Server) -> None:
    """The answer to a command is its id, its run, and whether it is new."""
    server.will(accepted)

    submitted = client.submit("validate", target="goodbuy_hq", reason="nightly")

    assert (submitted.command_id, submitted.run, submitted.new) == (UUID(COMMAND_ID), 7, True)
