"""Requests as they stand in the outbox: taken for relaying, kept as signed, answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote
from uuid import UUID

from ledger.errors import BadRequest, StepbackError
from ledger.model import Kind, Policy
from ledger.request import Request
from producers.outbox_database import Connection

# Rows that another relay has taken are its business; those of one that died are free again at once.
_TAKE_UNSIGNED: Final = """
    SELECT command_id, requested_by, requested_at, not_after, kind, target, migration, subject_run, reason,
           plan_sha256, accept_sha256, policy
    FROM stepback.outbox WHERE answered_at IS NULL AND envelope IS NULL
    ORDER BY ordinal LIMIT %s FOR UPDATE SKIP LOCKED
"""
_KEEP: Final = "UPDATE stepback.outbox SET envelope = %s WHERE command_id = %s"
_TAKE_SIGNED: Final = """
    SELECT command_id, envelope, idempotency_key
    FROM stepback.outbox WHERE answered_at IS NULL AND envelope IS NOT NULL
    ORDER BY ordinal LIMIT %s FOR UPDATE SKIP LOCKED
"""
_ACCEPTED: Final = "UPDATE stepback.outbox SET run = %s, answered_at = clock_timestamp() WHERE command_id = %s"
_REFUSED: Final = """
    UPDATE stepback.outbox SET refused_code = %s, refused_message = %s, answered_at = clock_timestamp()
    WHERE command_id = %s
"""


@dataclass(frozen=True)
class Asked:
    """A request that nobody has signed yet. The field names are the columns; whoever owns the database wrote them."""

    command_id: UUID
    requested_by: str
    requested_at: datetime
    not_after: datetime
    kind: str
    target: str
    migration: str | None
    subject_run: int | None
    reason: str
    plan_sha256: str | None
    accept_sha256: str | None
    policy: str | None

    def request(self, *, audience: str, issuer: str) -> Request:
        """Return it as a command. The same row is always the same command, byte for byte.

        Args:
            audience: The id of the installation.
            issuer: Of the relay's key; the role that asked is named behind it.

        Raises:
            BadRequest: An outbox cannot ask for that.
        """
        try:
            kind = Kind(self.kind)
            policy = None if self.policy is None else Policy(self.policy)
        except ValueError:
            raise BadRequest("the request was not made by the functions of schema stepback; use them") from None
        return Request(
            kind=kind,
            target=self.target,
            migration=self.migration,
            subject_run=self.subject_run,
            reason=self.reason,
            command_id=self.command_id,
            plan_sha256=self.plan_sha256,
            accept_sha256=self.accept_sha256,
            policy=policy,
            audience=audience,
            # Roles may have any name: one with a slash is not to pass for somebody else.
            issuer=f"{issuer}/{quote(self.requested_by, safe='')}",
            issued_at=self.requested_at,
            not_after=self.not_after,
        )


@dataclass(frozen=True)
class Signed:
    """A request with the envelope that was kept for it."""

    command_id: UUID
    envelope: str
    idempotency_key: str | None


def take_unsigned(conn: Connection, limit: int) -> list[Asked]:
    """Take the oldest requests that are not signed; they are ours until the transaction ends."""
    return [Asked(**row) for row in conn.execute(_TAKE_UNSIGNED, [limit])]


def keep(conn: Connection, envelopes: Iterable[tuple[UUID, str]]) -> None:
    """Keep what was signed for each command."""
    with conn.cursor() as cursor:
        cursor.executemany(_KEEP, [(envelope, command_id) for command_id, envelope in envelopes])


def take_signed(conn: Connection, limit: int) -> list[Signed]:
    """Take the oldest requests that are signed and not answered; they are ours until the transaction ends."""
    return [Signed(**row) for row in conn.execute(_TAKE_SIGNED, [limit])]


def accept(conn: Connection, runs: Iterable[tuple[UUID, int]]) -> None:
    """Tell whoever asked the number of the run, for each command."""
    with conn.cursor() as cursor:
        cursor.executemany(_ACCEPTED, [(run, command_id) for command_id, run in runs])


def refuse(conn: Connection, command_id: UUID, error: StepbackError) -> None:
    """Tell whoever asked why not."""
    conn.execute(_REFUSED, [error.code, error.message, command_id])
