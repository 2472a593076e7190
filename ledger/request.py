"""A request: what somebody asks for, and what makes it well formed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ledger.errors import BadRequest
from ledger.model import CANARY_TARGET, Kind, Policy
from ledger.statements import RunNumber, Sha256, Statement


@dataclass(frozen=True, kw_only=True)
class Request(Statement):
    """A command as it is signed. It is not begun after `not_after`, at most 24 hours after `issued_at`."""

    what = "command"

    kind: Kind
    target: str
    #: The migration to roll back; for a recovery that of its run, unless it names one member of a composite plan.
    migration: str | None = None
    #: The run to recover; None for a rollback.
    subject_run: RunNumber | None = None
    #: Why, for those who read it later: one line, at most 500 characters.
    reason: str
    #: Chosen anew by whoever asks: the same id is the same command.
    command_id: UUID
    #: SHA-256 of the plan that is meant; None takes the plan as it is at submit.
    plan_sha256: str | None = None
    #: SHA-256 of the impact that may go along though the plan does not name all of it, as a refusal or a dry run tells
    #: it; None accepts nothing. Only for a rollback.
    accept_sha256: Sha256 | None = None
    #: Which row wins where a preserved one meets a newer one; None: the newer one stays. Only for a recovery.
    policy: Policy | None = None
    #: SQL conditions on preserved rows, by table: only rows that meet theirs come back. Only for a recovery.
    conditions: dict[str, str] | None = None
    #: A query for one row of figures about what came back. Only for a recovery.
    report: str | None = None

    def check(self) -> None:
        """See that it has what its kind needs, and nothing that only others have."""
        kind = self.kind.value
        if (self.subject_run is not None) != (self.kind in {Kind.RECOVER, Kind.PURGE}):
            meant = "a migration, not a run" if self.subject_run else "the run it is about"
            raise BadRequest(f"a {kind} names {meant}")
        if self.kind is not Kind.ROLLBACK and (self.plan_sha256, self.accept_sha256) != (None, None):
            raise BadRequest(f"a {kind} has no plan and no impact to accept")
        if self.kind is not Kind.RECOVER and (self.policy, self.conditions, self.report) != (None, None, None):
            raise BadRequest(f"a {kind} brings nothing back: policy, conditions and report are a recovery's")
        if self.kind is Kind.CANARY and (self.target, self.migration) != (CANARY_TARGET, None):
            raise BadRequest(f"a canary touches nothing: its target is {CANARY_TARGET}, and it names no migration")
        for text in (self.report or "", *(self.conditions or {}), *(self.conditions or {}).values()):
            if "\0" in text:
                raise BadRequest(f"a {kind} holds a NUL, which no SQL has; see conditions and report")
        super().check()
