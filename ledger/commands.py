"""Commands into the ledger: written once, however often they are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, text

from ledger import audit
from ledger.errors import LimitReached, Refused, Replayed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from ledger.model import Command, Json

_RECORD: Final = text("SELECT place, run, verdict, event FROM ledger.record_commands(CAST(:given AS jsonb))")

_EXPIRED: Final = text("SELECT clock_timestamp() >= :not_after")

_KNOWN: Final = text(
    """
    SELECT command_id, envelope, run FROM ledger.commands JOIN ledger.runs USING (command_id)
    WHERE command_id = ANY(CAST(:command_ids AS uuid[]))
    """
)


@dataclass(frozen=True)
class Entry:
    """A command that passed the door, with what belongs to its record."""

    command: Command
    #: The signed text, byte for byte.
    envelope: str
    #: The requester's own key: a command that asks the same under the same key is the same.
    idempotency_key: str | None = None
    #: The door that it came in by.
    via: str | None = None
    #: How many destructive commands its requester may give about its target within an hour; None: no limit.
    limit: int | None = None
    #: For the audit event.
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """A command that is in the ledger."""

    run: int
    #: False where it was there before.
    new: bool


def is_expired(conn: Connection, not_after: datetime) -> bool:
    """Return whether a time has come, by the ledger's clock."""
    return bool(conn.execute(_EXPIRED, {"not_after": not_after}).scalar_one())


def known(conn: Connection, envelopes: Mapping[UUID, str]) -> dict[UUID, int]:
    """Return the runs of those commands that are in the ledger already, each with the very same envelope.

    Args:
        conn: A connection to the ledger.
        envelopes: By command id.
    """
    rows = conn.execute(_KNOWN, {"command_ids": [str(command_id) for command_id in envelopes]})
    return {row.command_id: row.run for row in rows if envelopes[row.command_id] == row.envelope}


def record(conn: Connection, entries: Sequence[Entry]) -> list[Recorded | Refused]:
    """Write commands, their queued runs and their audit events; those that are there already change nothing.

    From here to COMMIT nobody else appends to the audit log: do slow things before.

    Args:
        conn: A connection in a transaction.
        entries: Verified.

    Returns:
        What became of each, in order: the run, or why it is refused: `Replayed` where the id, or the idempotency key,
        is in the ledger with other content, `LimitReached`.
    """
    if not entries:
        return []
    outcomes: list[Recorded | Refused] = []
    rows = conn.execute(_RECORD, {"given": json.dumps([_document(entry) for entry in entries])}).all()
    for row in sorted(rows, key=lambda row: row.place):
        entry = entries[row.place - 1]
        if row.event is not None:
            audit.announce(conn, row.event)
        outcomes.append(_refusal(entry, row.verdict, row.run) or Recorded(row.run, row.verdict == "recorded"))
    return outcomes


def _document(entry: Entry) -> dict[str, Any]:
    command = {
        # Not dataclasses.asdict, which copies every value, to the letter: a batch would take twice as long.
        **vars(entry.command),
        "command_id": str(entry.command.command_id),
        "not_after": entry.command.not_after.isoformat(),
        "conditions": None if entry.command.conditions is None else dict(entry.command.conditions),
        "envelope": entry.envelope,
        "idempotency_key": entry.idempotency_key,
        "via": entry.via,
    }
    return {"command": command, "limit": entry.limit, "detail": dict(entry.detail)}


def _refusal(entry: Entry, verdict: str, run: int | None) -> Refused | None:
    command = entry.command
    match verdict:
        case "other_content":
            return Replayed(f"command {command.command_id} is run {run} already, with other content; use a new id")
        case "other_wish":
            return Replayed(f"the idempotency key belongs to run {run}, which asks something else; use a new key")
        case "limit_reached":
            return LimitReached(
                f"{command.requested_by} may ask for {entry.limit} destructive command(s) on {command.target} within an"
                " hour, and has; wait, or have the limit raised (destructive_per_hour)"
            )
    return None
