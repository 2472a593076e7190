"""What comes back, as frozen values; every one keeps the whole document, since Stepback may add keys to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from stepback_client.errors import BadAnswer, StepbackError

#: States that nothing leaves any more.
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "refused", "needs_operator"})


@dataclass(frozen=True)
class Submitted:
    """A command that is in Stepback's ledger, and the run that carries it out."""

    command_id: UUID
    run: int
    #: False where the same command was submitted before.
    new: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Submitted:
        """Read it.

        Raises:
            BadAnswer: It is something else.
        """
        try:
            return cls(UUID(document["command_id"]), int(document["run"]), bool(document["new"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _not("the answer to a command") from None


@dataclass(frozen=True)
class RunError:
    """Why a run ended as it did."""

    #: One of docs/errors.md.
    code: str
    message: str


@dataclass(frozen=True)
class Run:
    """A run as it stood when it was asked for."""

    run: int
    command_id: UUID
    #: `rollback`, `recover`, `validate` or `purge`.
    kind: str
    target: str
    #: None where a validation is of everything.
    migration: str | None
    #: `queued`, `in_progress`, `awaiting_approval`, `completed`, `failed`, `cancelled`, `refused`, `needs_operator`.
    state: str
    phase: str | None
    requested_by: str
    reason: str
    plan_sha256: str | None
    #: Hash of what it will remove or change; None until preflight has found that.
    impact_sha256: str | None
    #: None unless it ended otherwise than completed.
    error: RunError | None
    submitted_at: datetime
    #: None until it has ended.
    finished_at: datetime | None
    #: Everything that `stepback show --json` prints of it: steps, what is preserved, and more.
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more, unless a person sees to it."""
        return self.state in _ENDED

    @property
    def completed(self) -> bool:
        """Whether what was asked for is done."""
        return self.state == "completed"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Run:
        """Read it.

        Raises:
            BadAnswer: It is something else.
        """
        try:
            error, finished = document["error"], document["finished_at"]
            return cls(
                run=int(document["run"]),
                command_id=UUID(document["command_id"]),
                kind=document["kind"],
                target=document["target"],
                migration=document["migration"],
                state=document["state"],
                phase=document["phase"],
                requested_by=document["requested_by"],
                reason=document["reason"],
                plan_sha256=document["plan_sha256"],
                impact_sha256=document["impact_sha256"],
                error=error and RunError(error["code"], error["message"]),
                submitted_at=datetime.fromisoformat(document["submitted_at"]),
                finished_at=finished and datetime.fromisoformat(finished),
                document=document,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _not("a run") from None


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, as Stepback's audit log has it."""

    #: Its place in the audit log; `Client.events` goes on behind it.
    seq: int
    #: The type of the CloudEvent, such as `stepback.run_completed`.
    type: str
    occurred_at: datetime
    #: The audit event: who, what, where, outcome.
    data: Mapping[str, Any]
    #: The whole CloudEvent.
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, seq: str, document: Mapping[str, Any]) -> Event:
        """Read it.

        Args:
            seq: The id that it came under.
            document: The CloudEvent.

        Raises:
            BadAnswer: It is something else.
        """
        try:
            occurred_at = datetime.fromisoformat(document["time"])
            return cls(int(seq), document["type"], occurred_at, document["data"], document)
        except (KeyError, TypeError, ValueError):
            raise _not("an event") from None


class StillWaiting(StepbackError):
    """The run has not ended within the time that was given; it goes on all the same."""

    code = "still_waiting"

    def __init__(self, message: str, *, run: Run) -> None:
        super().__init__(message)
        #: The run as it was last seen.
        self.run = run


def _not(what: str) -> BadAnswer:
    return BadAnswer(f"what came back is not {what} of Stepback; see that the URL is that of a gateway")
