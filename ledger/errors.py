"""Every error that Stepback knows, as classes: what it means, and what may be done about it."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Effect(StrEnum):
    """What an error leaves behind in the target."""

    NONE = "none"
    APPLIED = "applied"
    UNKNOWN = "unknown"


class StepbackError(Exception):
    """Something did not work out; the message says what, where, and the safe next thing to do."""

    #: The lower-case word that scripts may rely on (docs/errors.md lists them all).
    code: ClassVar[str] = "internal_error"
    #: Whether the same command may simply be tried again by the worker.
    retryable: ClassVar[bool] = False
    #: What the target looks like after it.
    effect: ClassVar[Effect] = Effect.NONE
    #: Exit code of the command line: 1 failed, 2 usage, 3 refused.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Refused(StepbackError):
    """A decision not to do what was asked, taken before anything was changed."""

    exit_code = 3


class Failed(StepbackError):
    """The attempt was made and taken back whole."""


# -- what was asked ---------------------------------------------------------


class BadConfiguration(StepbackError):
    """The configuration names an unknown key or holds a bad value."""

    code = "bad_configuration"
    exit_code = 2


class BadName(Refused):
    """A migration or target name that cannot be a name."""

    code = "bad_name"


class UnknownTarget(Refused):
    """No target of that name is configured."""

    code = "unknown_target"


class UnknownMigration(Refused):
    """No plan of that name exists for the target."""

    code = "unknown_migration"


class UnknownRun(Refused):
    """No run of that number is in the ledger."""

    code = "unknown_run"


class BadSignature(Refused):
    """The command is not signed by a key that this installation knows."""

    code = "bad_signature"


class BadRequest(Refused):
    """What is signed is not a command that could be carried out."""

    code = "bad_request"


class Expired(Refused):
    """The command was to be carried out before a time that has passed."""

    code = "expired"


class Replayed(Refused):
    """A command of this id is in the ledger already, with other content."""

    code = "replayed"


class NotAllowed(Refused):
    """Whoever asks does not have the right to this."""

    code = "not_allowed"


class EntryGone(StepbackError):
    """An entry of the stream was deleted or trimmed before it was known what became of its command."""

    code = "entry_gone"


class UnknownKey(Refused):
    """No key of that id is registered."""

    code = "unknown_key"


class BadKey(Refused):
    """What was given is not a key, or not one that could be trusted."""

    code = "bad_key"


class LimitReached(Refused):
    """Whoever asks has asked for as much as their rights allow within the hour."""

    code = "limit_reached"


class NotAwaiting(Refused):
    """The run does not wait for an approval, or has ended and cannot be cancelled."""

    code = "not_awaiting"


class NeedsApproval(Refused):
    """What approved the run does not count any more: another impact, another plan, or its time has passed."""

    code = "needs_approval"


class NothingToRecover(Refused):
    """The run has nothing preserved that could be brought back."""

    code = "nothing_to_recover"


class Conflict(Refused):
    """What is to come back stands in the way of something that is there now."""

    code = "conflict"


class RecoverFirst(Refused):
    """Another run keeps something that this one needs back first."""

    code = "recover_first"


class NothingToPurge(Refused):
    """The run has nothing preserved that could be deleted."""

    code = "nothing_to_purge"


class NothingToAcknowledge(Refused):
    """The run has ended, and nobody is paged for it."""

    code = "nothing_to_acknowledge"


class StillNeeded(Refused):
    """What was to be deleted is needed: by a recovery, by another run, or by something outside quarantine."""

    code = "still_needed"


# -- the plan ---------------------------------------------------------------


class PlanRefused(Refused):
    """The plan holds something that cannot be made safe; the message gives the line."""

    code = "plan_refused"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class PlanChanged(Refused):
    """The plan's bytes are not those that were registered or pinned."""

    code = "plan_changed"


class ImpactNotAccepted(Refused):
    """The plan would reach objects that it does not name and that nobody accepted."""

    code = "impact_not_accepted"


class NothingToRollBack(Refused):
    """None of the objects that the plan removes exists."""

    code = "nothing_to_roll_back"


class NotPossible(Refused):
    """The target or the role cannot do what is asked: a standby, a pooler, a missing privilege."""

    code = "not_possible"


# -- apply ------------------------------------------------------------------


class ImpactChanged(Failed):
    """What the plan reaches is not what preflight found, or not the impact that the command accepts."""

    code = "impact_changed"


class GateFailed(Failed):
    """A check inside apply did not hold."""

    code = "gate_failed"


class IncompatibleQueries(Failed):
    """Queries of the application that could be prepared before could not be any more."""

    code = "incompatible_queries"


class WouldLoseData(Failed):
    """Something would disappear that is not preserved."""

    code = "would_lose_data"


class LockBudgetSpent(Failed):
    """The locks could not be had within the budget; the message names who holds them."""

    code = "lock_budget_spent"


class CopyNotComplete(Failed):
    """Columns could not be copied whole while others write; the message says what stood in the way."""

    code = "copy_not_complete"


class StatementFailed(Failed):
    """The server refused a statement of the run."""

    code = "statement_failed"

    def __init__(self, message: str, *, of_rows: bool = False, of_names: bool = False) -> None:
        super().__init__(message)
        #: Whether rows that are there are the reason: a key, a check or a NOT NULL that they break.
        self.of_rows = of_rows
        #: Whether a relation, a function or a type was not found by its name.
        self.of_names = of_names


# -- the way there ----------------------------------------------------------


class LockNotAvailable(StepbackError):
    """One lock was not granted within lock_timeout; tried again while the budget lasts."""

    code = "lock_not_available"
    retryable = True


class CopyOutdated(StepbackError):
    """Under the locks a copy of columns is not proved complete any more; it is completed, and apply tried again."""

    code = "copy_outdated"
    retryable = True


class Fenced(StepbackError):
    """A newer attempt holds the fence in the target: this one must not write."""

    code = "fenced"


class Cancelled(StepbackError):
    """Somebody who may has cancelled the run before it changed anything."""

    code = "cancelled"


class LeaseLost(StepbackError):
    """The ledger gave the run to another attempt: this one stops and touches nothing."""

    code = "lease_lost"


class OutcomeUnknown(StepbackError):
    """The connection broke during COMMIT: only the marker in the target can tell."""

    code = "outcome_unknown"
    effect = Effect.UNKNOWN
    retryable = True


class TargetUnreachable(StepbackError):
    """The target does not answer."""

    code = "target_unreachable"
    retryable = True


class LedgerUnreachable(StepbackError):
    """The ledger does not answer; nothing was recorded and nothing will happen."""

    code = "ledger_unreachable"


class QueueUnreachable(StepbackError):
    """Redis does not answer. The command is in the ledger and will be carried out later."""

    code = "queue_unreachable"


class NeedsOperator(StepbackError):
    """The worker cannot tell by itself what is true; a person has to look."""

    code = "needs_operator"
    effect = Effect.UNKNOWN
