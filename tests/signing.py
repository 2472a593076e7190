"""Signed commands and approvals for tests that begin behind the door: written into the ledger as a producer would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from joserfc.jwk import OKPKey
from sqlalchemy import Engine

from ledger import commands, consent, runs
from ledger.commands import Entry, Recorded
from ledger.database import transaction
from ledger.errors import Refused
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.model import Command
from ledger.request import Request
from ledger.statements import Approval
from producers.envelope import sign
from producers.keys import PrivateKey

#: Who approves what others ask for.
APPROVER = "local:grace"


@cache
def key_of(issuer: str) -> PrivateKey:
    """Return the key of an issuer, the same for the whole process."""
    return PrivateKey.of(OKPKey.generate_key("Ed25519"), issuer)


def known_key(ledger: Engine, issuer: str) -> PrivateKey:
    """Return the key of an issuer, registered."""
    key = key_of(issuer)
    with transaction(ledger) as conn:
        register_key(conn, key.key_id, issuer, key.public_key)
    return key


def record(ledger: Engine, command: Command, *, envelope: str | None = None, key: str | None = None) -> Recorded:
    """Write a command down as it is, signed by nobody: no worker carries it out.

    Raises:
        Refused: It is there already, with other content.
    """
    entry = Entry(command, envelope or str(command.command_id), key)
    with transaction(ledger) as conn:
        (outcome,) = commands.record(conn, [entry])
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def record_signed(ledger: Engine, command: Command) -> int:
    """Write a command down, signed by whoever asks for it; return its run."""
    return record(ledger, command, envelope=envelope_of(ledger, command)).run


def envelope_of(ledger: Engine, command: Command) -> str:
    """Sign a command."""
    request = Request(
        kind=command.kind,
        target=command.target,
        migration=command.migration,
        subject_run=command.subject_run,
        reason=command.reason,
        command_id=command.command_id,
        accept_sha256=command.accept_sha256,
        policy=command.policy,
        conditions=None if command.conditions is None else dict(command.conditions),
        report=command.report,
        audience=str(installation_id(ledger)),
        issuer=command.requested_by,
        issued_at=command.not_after - timedelta(hours=1),
        not_after=command.not_after,
    )
    return sign(request, known_key(ledger, command.requested_by))


def approve(ledger: Engine, run: int, issuer: str = APPROVER) -> None:
    """Approve a run that waits, for what it waits with."""
    key = known_key(ledger, issuer)
    with transaction(ledger) as conn:
        found = runs.find(conn, run)
        assert found.impact_sha256 is not None
        now = datetime.now(UTC)
        approval = Approval(
            command_id=found.command_id,
            run=run,
            target=found.target,
            plan_sha256=found.plan_sha256,
            impact_sha256=found.impact_sha256,
            reason="a test",
            audience=str(installation_id(ledger)),
            issuer=issuer,
            issued_at=now,
            not_after=now + timedelta(hours=1),
        )
        consent.approve(conn, approval, sign(approval, key))
