"""The one way in: believe envelopes or refuse them, write the commands down, and only then ring the doorbell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Connection, Engine, text

from ledger import commands, doorbell, keys
from ledger.canonical import sha256
from ledger.commands import Entry, Recorded
from ledger.database import transaction
from ledger.envelope import check_meant, open_envelope
from ledger.errors import BadRequest, LedgerUnreachable, QueueUnreachable, StepbackError
from ledger.installation import installation_id
from ledger.keys import SigningKey
from ledger.model import Command, Event, Json, Kind
from ledger.request import Request
from ledger.rights import Rights
from ledger.settings import Settings
from producers.admission import Pin, admit, command_of
from producers.refusals import ACCEPTED, Refusal, append_anyway, refuse_all

_NOW = text("SELECT now()")
#: Printable ASCII: it travels in a header.
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")


@dataclass(frozen=True)
class Submitted:
    """A command that is in the ledger, and the run that carries it out."""

    command_id: UUID
    run: int
    #: False where the same envelope was submitted before.
    new: bool


@dataclass(frozen=True)
class Handed:
    """What a producer hands in."""

    #: The compact JWS of a `Request`.
    envelope: str
    #: The requester's own key: a command that asks the same under the same key is the same.
    idempotency_key: str | None = None


class NotRung(QueueUnreachable):
    """The command is in the ledger, but the doorbell could not be rung."""

    def __init__(self, message: str, *, submitted: Submitted) -> None:
        super().__init__(message)
        self.submitted = submitted
        self.run = submitted.run


@dataclass
class _Case:
    """One envelope on its way in; how far it came says what an error's refusal may name."""

    handed: Handed
    request: Request | None = None
    rights: Rights | None = None
    migration: str | None = None
    entry: Entry | None = None
    outcome: Submitted | StepbackError | None = None

    def refusal(self, error: StepbackError) -> Refusal:
        if self.request is None:
            return Refusal(error)
        return Refusal(error, self.request.issuer, self.request.target, self.request.migration)


@dataclass(frozen=True)
class OneWayIn:
    """Where every producer hands its envelopes in."""

    engine: Engine
    broker: RedisBroker
    settings: Settings
    #: Finds the plan of a rollback, at this moment.
    pin: Pin
    #: Which door this is, for audit log and metrics: "command_line", "gateway", "outbox", "stream".
    via: str

    @cached_property
    def installation(self) -> UUID:
        """The id that has to stand in every envelope.

        Raises:
            BadConfiguration: The ledger is not installed.
            LedgerUnreachable: It does not answer.
        """
        return installation_id(self.engine)

    def submit(self, envelope: str, *, idempotency_key: str | None = None) -> Submitted:
        """Write a signed command into the ledger and ring for it. The same envelope again gives the same run.

        Raises:
            BadConfiguration: The ledger is not installed.
            LedgerUnreachable: The message says whether the command may be recorded; the same envelope may be tried
                again.
            NotRung: A QueueUnreachable with the number of the run, which is recorded and begins once Redis is back.
            StepbackError: Any refusal; it is in the audit log, without the text that was refused.
        """
        (outcome,) = self.submit_all([Handed(envelope, idempotency_key)])
        if isinstance(outcome, StepbackError):
            raise outcome
        return outcome

    def submit_all(self, handed: Sequence[Handed]) -> list[Submitted | StepbackError]:
        """Do what `submit` does for many at once, in one transaction; what is refused harms no other.

        Returns:
            What became of each, in order: the run, or the error that `submit` would raise.

        Raises:
            BadConfiguration, LedgerUnreachable: As for `submit`.
        """
        installation = self.installation
        cases = [_Case(each) for each in handed]
        with transaction(self.engine) as conn:
            self._admit(conn, cases, installation)
        self._pin(cases)
        self._record(cases)
        self._ring(cases)
        refuse_all(
            self.engine,
            [
                case.refusal(case.outcome)
                for case in cases
                if isinstance(case.outcome, StepbackError) and not isinstance(case.outcome, NotRung)
            ],
            via=self.via,
        )
        return [_ended(case) for case in cases]

    def _admit(self, conn: Connection, cases: Sequence[_Case], installation: UUID) -> None:
        now = conn.execute(_NOW).scalar_one()
        found: dict[str, SigningKey | None] = {}

        def find_key(key_id: str) -> SigningKey | None:
            if key_id not in found:
                found[key_id] = keys.find_key(conn, key_id)
            return found[key_id]

        for case in cases:
            try:
                case.request = open_envelope(case.handed.envelope, find_key)
                _check_idempotency_key(case.handed.idempotency_key)
            except StepbackError as error:
                case.outcome = error
        opened = {case.request.command_id: case.handed.envelope for case in cases if case.request is not None}
        known = commands.known(conn, opened) if opened else {}
        for case in cases:
            if case.request is None or case.outcome is not None:
                continue
            command_id = case.request.command_id
            if command_id in known and opened[command_id] == case.handed.envelope:
                # Whoever asks again has it again, even when its time is over and its plan is gone.
                case.outcome = Submitted(command_id, known[command_id], new=False)
                continue
            try:
                check_meant(case.request, installation, now)
                case.rights = Rights.of(self.settings, case.request.issuer)
                case.migration = admit(conn, case.request, case.rights, self.settings)
            except LedgerUnreachable:
                raise
            except StepbackError as error:
                case.outcome = error

    def _pin(self, cases: Sequence[_Case]) -> None:
        """Find each plan once; what is wrong with it concerns all that mean it."""
        plans: dict[tuple[str, str], str | StepbackError] = {}
        for case in cases:
            if case.outcome is not None or case.request is None or case.rights is None:
                continue
            plan: str | None = None
            if case.request.kind is Kind.ROLLBACK and case.migration is not None:
                wanted = (case.request.target, case.migration)
                if wanted not in plans:
                    plans[wanted] = self._look_for(*wanted)
                pinned = plans[wanted]
                if isinstance(pinned, StepbackError):
                    case.outcome = pinned
                    continue
                plan = pinned
            try:
                needs_approval = case.rights.needs_approval(case.request.kind)
                command = command_of(case.request, case.migration, plan, needs_approval=needs_approval)
            except StepbackError as error:
                case.outcome = error
                continue
            case.entry = Entry(
                command,
                case.handed.envelope,
                case.handed.idempotency_key,
                via=self.via,
                limit=case.rights.limit(command.kind),
                detail=_detail(command, case.handed.envelope, self.via),
            )

    def _look_for(self, target: str, migration: str) -> str | StepbackError:
        try:
            return self.pin(target, migration)
        except LedgerUnreachable:
            raise
        except StepbackError as error:
            return error

    def _record(self, cases: Sequence[_Case]) -> None:
        """Commit the commands and the audit events that say so as one."""
        entering = [(case, case.entry) for case in cases if case.entry is not None]
        if not entering:
            return
        try:
            with transaction(self.engine) as conn:
                recorded = commands.record(conn, [entry for _, entry in entering])
        except LedgerUnreachable as error:
            # The cut may have come after COMMIT: then the run is there, and is found by the same envelope.
            ids = ", ".join(str(entry.command.command_id) for _, entry in entering)
            raise LedgerUnreachable(
                f"the ledger stopped answering while command {ids} was recorded; it may be in there: "
                "submit the same envelope again, which never makes a second run"
            ) from error
        for (case, entry), outcome in zip(entering, recorded, strict=True):
            if isinstance(outcome, Recorded):
                case.outcome = Submitted(entry.command.command_id, outcome.run, outcome.new)
                if outcome.new:
                    ACCEPTED.labels(entry.command.kind.value, self.via).inc()
            else:
                case.outcome = outcome

    def _ring(self, cases: Sequence[_Case]) -> None:
        # Those known already are rung for as well: whoever asks again may do so because nothing happens.
        ringing = [(case, case.outcome) for case in cases if isinstance(case.outcome, Submitted)]
        if not ringing:
            return
        try:
            doorbell.ring(self.broker, *(submitted.command_id for _, submitted in ringing))
        except QueueUnreachable as error:
            events: list[tuple[Event, StepbackError]] = []
            for case, submitted in ringing:
                failure = NotRung(
                    f"Redis does not answer; run {submitted.run} is recorded and will be carried out when Redis is"
                    " back",
                    submitted=submitted,
                )
                failure.__cause__ = error
                case.outcome = failure
                events.append((_not_rung(case, failure), failure))
            append_anyway(self.engine, events)


def _ended(case: _Case) -> Submitted | StepbackError:
    assert case.outcome is not None  # noqa: S101 - every case has been refused, was known, or was recorded
    return case.outcome


def _not_rung(case: _Case, failure: NotRung) -> Event:
    assert case.request is not None  # noqa: S101 - it was recorded
    return Event(
        "doorbell_failed",
        actor=case.request.issuer,
        outcome="failed",
        run=failure.run,
        target=case.request.target,
        detail={"code": failure.code},
    )


def _check_idempotency_key(key: str | None) -> None:
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise BadRequest("an idempotency key is 1 to 200 printable ASCII characters, without spaces at its ends")


def _detail(command: Command, envelope: str, via: str) -> dict[str, Json]:
    return {
        "command_id": str(command.command_id),
        "kind": command.kind.value,
        "migration": command.migration,
        "subject_run": command.subject_run,
        "plan_sha256": command.plan_sha256,
        "accept_sha256": command.accept_sha256,
        "policy": command.policy,
        "conditions": None if command.conditions is None else dict(command.conditions),
        "report": command.report,
        "needs_approval": command.needs_approval,
        "via": via,
        # Binds the signed text, reason included, to the chain without copying free text into it.
        "envelope_sha256": sha256(envelope),
    }
