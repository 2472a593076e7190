"""Commands into the ledger: written once, however often they are sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from ledger.errors import Replayed
from ledger.model import Kind

if TYPE_CHECKING:
    from ledger.model import Command

# Without a conflict target: the command id and the idempotency key both count.
_INSERT = text(
    """
    INSERT INTO ledger.commands (command_id, kind, target, migration, subject_run, plan_sha256, requested_by, reason,
                                 not_after, accept_sha256, policy, conditions, report, idempotency_key, envelope)
    VALUES (:command_id, :kind, :target, :migration, :subject_run, :plan_sha256, :requested_by, :reason,
            :not_after, :accept_sha256, :policy, CAST(:conditions AS jsonb), :report, :idempotency_key, :envelope)
    ON CONFLICT DO NOTHING
    RETURNING command_id
    """
)

_QUEUE = text("INSERT INTO ledger.runs (command_id) VALUES (:command_id) RETURNING run")

#: The monitor sends one every minute: they count backwards, and leave to runs the numbers that people use.
_QUEUE_CANARY = text(
    """
    INSERT INTO ledger.runs (run, command_id) OVERRIDING SYSTEM VALUE
    VALUES (-nextval('ledger.canaries'), :command_id) RETURNING run
    """
)

_KNOWN = text(
    """
    SELECT run, command_id, kind, target, migration, subject_run, accept_sha256, policy, conditions, report, envelope
    FROM ledger.commands JOIN ledger.runs USING (command_id)
    WHERE command_id = :command_id OR (requested_by = :requested_by AND idempotency_key = :idempotency_key)
    ORDER BY command_id = :command_id DESC
    LIMIT 1
    """
)


#: What makes two commands ask for the same.
_ASKED = ("kind", "target", "migration", "subject_run", "accept_sha256", "policy", "conditions", "report")

_EXPIRED = text("SELECT clock_timestamp() >= :not_after")


def is_expired(conn: Connection, command: Command) -> bool:
    """Return whether the time until which a command may be begun has passed, by the ledger's clock."""
    return bool(conn.execute(_EXPIRED, {"not_after": command.not_after}).scalar_one())


def record(conn: Connection, command: Command, *, envelope: str, idempotency_key: str | None) -> tuple[int, bool]:
    """Write a command and its queued run; the same one again changes nothing.

    Call it before appending to the audit log in the same transaction: two submitters then wait in one order.

    Args:
        conn: A connection in a transaction.
        command: What is asked, verified.
        envelope: The signed text, byte for byte.
        idempotency_key: The requester's own key: a command that asks the same under the same key is the same.

    Returns:
        The run's number, and whether it is new.

    Raises:
        Replayed: The id, or the idempotency key, is in the ledger with other content.
    """
    conditions = None if command.conditions is None else json.dumps(dict(command.conditions))
    keys = {"envelope": envelope, "idempotency_key": idempotency_key}
    values = {**asdict(command), "conditions": conditions, **keys}
    if conn.execute(_INSERT, values).one_or_none() is not None:
        queue = _QUEUE_CANARY if command.kind is Kind.CANARY else _QUEUE
        run: int = conn.execute(queue, {"command_id": command.command_id}).scalar_one()
        return run, True
    known = conn.execute(_KNOWN, values).one()
    if known.command_id == command.command_id:
        if known.envelope != envelope:
            raise Replayed(f"command {command.command_id} is run {known.run} already, with other content; use a new id")
    elif not _asks_the_same(known, command):
        raise Replayed(f"the idempotency key belongs to run {known.run}, which asks something else; use a new key")
    return known.run, False


def _asks_the_same(known: Row[Any], command: Command) -> bool:
    return all(getattr(known, name) == getattr(command, name) for name in _ASKED)
