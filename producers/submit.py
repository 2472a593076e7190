"""The one way in: believe an envelope or refuse it, write the command down, and only then ring the doorbell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from ledger import audit, commands, doorbell, keys
from ledger.canonical import sha256
from ledger.database import transaction
from ledger.errors import BadName, LedgerUnreachable, QueueUnreachable, StepbackError
from ledger.installation import installation_id
from ledger.model import Command, Event, Json
from ledger.names import check_name
from ledger.settings import Settings
from producers.admission import Pin, admit, pinned
from producers.envelope import open_envelope
from producers.request import Request

#: The actor of a refusal where no signature says who it was.
UNKNOWN_ACTOR = "unknown"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Submitted:
    """A command that is in the ledger, and the run that carries it out."""

    command_id: UUID
    run: int
    #: False where the same envelope was submitted before.
    new: bool


class NotRung(QueueUnreachable):
    """The command is in the ledger, but the doorbell could not be rung."""

    def __init__(self, message: str, *, run: int) -> None:
        super().__init__(message)
        self.run = run


def submit(envelope: str, *, engine: Engine, broker: RedisBroker, settings: Settings, pin: Pin) -> Submitted:
    """Write a signed command into the ledger and ring for it. The same envelope again gives the same run.

    Any registered key may ask for anything; what each may ask for is not told apart yet.

    Args:
        envelope: The compact JWS of a `Request`.
        engine: The ledger.
        broker: The doorbell.
        settings: Says which targets there are.
        pin: Finds the plan of a rollback, at this moment.

    Raises:
        BadConfiguration: The ledger is not installed.
        LedgerUnreachable: The message says whether the command may be recorded; the same envelope may be tried again.
        NotRung: A QueueUnreachable with the number of the run, which is recorded and begins once Redis is back.
        StepbackError: Any refusal; it is in the audit log, without the text that was refused.
    """
    installation = installation_id(engine)
    request: Request | None = None
    try:
        with transaction(engine) as conn:
            request = open_envelope(envelope, partial(keys.find_key, conn))
            migration = admit(conn, request, installation, settings)
        command = pinned(request, migration, pin)
        run, new = _record(engine, command, envelope)
    except LedgerUnreachable:
        raise
    except StepbackError as error:
        if request is None:
            refuse(engine, actor=UNKNOWN_ACTOR, error=error)
        else:
            refuse(engine, actor=request.issuer, error=error, target=request.target, migration=request.migration)
        raise
    _ring(engine, broker, command, run)
    return Submitted(command.command_id, run, new)


def refuse(
    engine: Engine, *, actor: str, error: StepbackError, target: str | None = None, migration: str | None = None
) -> None:
    """Write a refusal into the audit log: its code and proper names, never a text that may hold a password.

    A ledger that does not answer is noted on the error and logged: it does not hide why something was refused.

    Args:
        engine: The ledger.
        actor: Who asked.
        error: Why it was refused; only its code is written.
        target: What was given for a target; left out unless it can be the name of one.
        migration: What was given for a migration; left out unless it can be the name of one.
    """
    detail: dict[str, Json] = {"code": error.code}
    if name := _proper("migration", migration):
        detail["migration"] = name
    event = Event("command_refused", actor=actor, outcome="refused", target=_proper("target", target), detail=detail)
    _append_anyway(engine, event, error)


def _record(engine: Engine, command: Command, envelope: str) -> tuple[int, bool]:
    """Commit the command and the audit event that says so as one."""
    try:
        with transaction(engine) as conn:
            run, new = commands.record(conn, command, envelope=envelope, idempotency_key=None)
            if new:
                audit.append(conn, _submitted(command, run, envelope))
    except LedgerUnreachable as error:
        # The cut may have come after COMMIT: then the run is there, and is found by the same envelope.
        raise LedgerUnreachable(
            f"the ledger stopped answering while command {command.command_id} was recorded; it may be in there: "
            "submit the same envelope again, which never makes a second run"
        ) from error
    return run, new


def _submitted(command: Command, run: int, envelope: str) -> Event:
    detail: dict[str, Json] = {
        "command_id": str(command.command_id),
        "kind": command.kind.value,
        "migration": command.migration,
        "subject_run": command.subject_run,
        "plan_sha256": command.plan_sha256,
        "accept_sha256": command.accept_sha256,
        "policy": command.policy,
        "conditions": None if command.conditions is None else dict(command.conditions),
        "report": command.report,
        # Binds the signed text, reason included, to the chain without copying free text into it.
        "envelope_sha256": sha256(envelope),
    }
    actor = command.requested_by
    return Event("command_submitted", actor=actor, outcome="ok", run=run, target=command.target, detail=detail)


def _ring(engine: Engine, broker: RedisBroker, command: Command, run: int) -> None:
    try:
        doorbell.ring(broker, command.command_id)
    except QueueUnreachable as error:
        failure = NotRung(
            f"Redis does not answer; run {run} is recorded and will be carried out when Redis is back", run=run
        )
        event = Event(
            "doorbell_failed",
            actor=command.requested_by,
            outcome="failed",
            run=run,
            target=command.target,
            detail={"code": failure.code},
        )
        _append_anyway(engine, event, failure)
        raise failure from error


def _append_anyway(engine: Engine, event: Event, error: StepbackError) -> None:
    """Append an event about an error; where that fails too, the first error stays the one that is told."""
    try:
        with transaction(engine) as conn:
            audit.append(conn, event)
    except LedgerUnreachable:
        error.add_note(f"{event.type} is not in the audit log: the ledger does not answer")
        log.warning("audit_event_lost", type=event.type, code=error.code)


def _proper(what: str, name: str | None) -> str | None:
    try:
        return None if name is None else check_name(what, name)
    except BadName:
        return None
