"""The nouns that cross boundaries: commands, runs, steps and audit events, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

#: What canonical JSON may hold. No floats: a hash must not depend on how a number is printed.
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


class Kind(StrEnum):
    """What a command asks for."""

    ROLLBACK = "rollback"
    RECOVER = "recover"
    VALIDATE = "validate"
    PURGE = "purge"
    #: Goes all the way through the house and touches no target: the monitor's own.
    CANARY = "canary"


#: What a canary names for a target, though it touches none.
CANARY_TARGET = "canary"


class Policy(StrEnum):
    """Which row wins where a preserved one meets one that was written since."""

    #: The newer row stays as it is; how many there are is reported.
    SKIP = "skip"
    #: The preserved row takes its place; the newer one is kept in quarantine.
    OVERWRITE = "overwrite"
    #: The newer row stays, and the preserved one is put into a table for review.
    ASIDE = "aside"


class State(StrEnum):
    """Where a run stands. The ledger's runs_state_check constraint lists the same words."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    NEEDS_OPERATOR = "needs_operator"


#: What removes something, or does away with what brings it back: rights set a limit to it.
DESTRUCTIVE = frozenset({Kind.ROLLBACK, Kind.PURGE})

#: What somebody else always has to approve, whoever asks for it.
ALWAYS_APPROVED = frozenset({Kind.PURGE})

#: States that nothing leaves any more.
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.REFUSED, State.NEEDS_OPERATOR})


class Phase(StrEnum):
    """The stretch of a run that a step belongs to, in order."""

    PREFLIGHT = "preflight"
    PRESERVE = "preserve"
    APPLY = "apply"
    FINISH = "finish"


@dataclass(frozen=True)
class Command:
    """A request that passed the door: what the worker needs to know of it."""

    command_id: UUID
    kind: Kind
    target: str
    #: The migration to roll back; for a recovery or a purge, that of its run; None where a validation is of everything.
    migration: str | None
    #: The run to recover or to purge.
    subject_run: int | None
    #: SHA-256 of the plan as pinned at submit; None where nothing was pinned.
    plan_sha256: str | None
    requested_by: str
    reason: str
    not_after: datetime
    #: Hash of the one impact that may go along though the plan does not name all of it; None accepts nothing.
    accept_sha256: str | None = None
    #: For a recovery; None leaves newer rows as they are.
    policy: Policy | None = None
    #: For a recovery, which rows come back, by table; None: all, or as the plan's recover.sql says.
    conditions: Mapping[str, str] | None = None
    #: For a recovery, a query for one row of figures about what came back.
    report: str | None = None
    #: Whether the rights of whoever asks say that somebody else approves it.
    needs_approval: bool = False

    @property
    def subject(self) -> str:
        """What it is about, as messages call it."""
        return self.migration or "everything"


@dataclass(frozen=True)
class RunError:
    """Why a run ended as it did."""

    code: str
    message: str


@dataclass(frozen=True)
class StepRecord:
    """One audited unit of a phase."""

    phase: Phase
    step: str
    outcome: str
    seconds: float
    #: What it is for, where a summary gathers steps: TABLES_REMOVAL, VERIFICATION, ...
    section: str | None = None
    #: What it says of itself: "5 gate(s) hold".
    detail: str | None = None
    #: None: now.
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Preserved:
    """One object that a run keeps: what it was, how it is kept, and where."""

    kind: str
    name: str
    #: "moved", "copied" or "defined".
    how: str
    rows: int | None
    bytes: int | None
    #: Schema in the target that holds it; None where a definition in preserved_objects is all of it.
    quarantine: str | None


@dataclass(frozen=True)
class Run:
    """One command being carried out on one target, as the ledger knows it."""

    run: int
    command_id: UUID
    kind: Kind
    target: str
    migration: str | None
    subject_run: int | None
    state: State
    phase: Phase | None
    attempt: int
    requested_by: str
    reason: str
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    blocked_seconds: float | None
    plan_sha256: str | None
    impact_sha256: str | None
    error: RunError | None
    steps: tuple[StepRecord, ...] = ()
    preserved: tuple[Preserved, ...] = ()
    #: The impact that the command accepts, by its hash.
    accept_sha256: str | None = None
    #: What preflight remarked upon: what else mentions or needs what goes.
    notes: tuple[str, ...] = ()
    #: As the command was given them.
    policy: Policy | None = None
    conditions: Mapping[str, str] | None = None
    #: What it found: checks, figures, what was deleted.
    result: Mapping[str, Json] | None = None

    @property
    def subject(self) -> str:
        """What it is about, as messages call it."""
        return self.migration or "everything"

    @property
    def validation(self) -> Mapping[str, Json] | None:
        """What its checks found: all that a validation is for, and what a rollback or a recovery ends with."""
        found = self.result if self.kind is Kind.VALIDATE or self.result is None else self.result.get("validation")
        return found if isinstance(found, Mapping) else None


@dataclass(frozen=True)
class Event:
    """A fact to be written to the audit log; the database adds number, time and hashes."""

    #: Past tense: `run_completed`. The same word is the log event and the metric label.
    type: str
    #: Who: an issuer of commands, or `worker:<name>`.
    actor: str
    outcome: str
    run: int | None = None
    attempt: int | None = None
    target: str | None = None
    phase: Phase | None = None
    step: str | None = None
    detail: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditEvent:
    """One link of the chain, as stored."""

    seq: int
    event_id: UUID
    type: str
    #: RFC 3339 UTC with microseconds, exactly as hashed.
    occurred_at: str
    actor: str
    run: int | None
    attempt: int | None
    target: str | None
    phase: str | None
    step: str | None
    outcome: str
    detail: dict[str, Json]
    prev_hash: str
    hash: str
