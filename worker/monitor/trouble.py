"""Trouble: something that people must know, as a value, with the words of its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Alert(StrEnum):
    """What a monitor raises by itself; the words are the alerts' names, and headings of the runbook."""

    RUN_STUCK = "StepbackRunStuck"
    RUN_FAILED = "StepbackRunFailed"
    RUN_NEEDS_OPERATOR = "StepbackRunNeedsOperator"
    VALIDATION_FAILED = "StepbackValidationFailed"
    APPROVAL_OVERDUE = "StepbackApprovalOverdue"
    AUDIT_CHAIN_BROKEN = "StepbackAuditChainBroken"
    AUDIT_UNWRITABLE = "StepbackAuditUnwritable"
    QUARANTINE_DAMAGED = "StepbackQuarantineDamaged"
    QUARANTINE_EXPIRING = "StepbackQuarantineExpiring"
    LEDGER_UNREACHABLE = "StepbackLedgerUnreachable"

    @property
    def severity(self) -> str:
        """Whether it pages."""
        return "warning" if self in {Alert.APPROVAL_OVERDUE, Alert.QUARANTINE_EXPIRING} else "critical"


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong. The same thing has the same alert and labels however often it is seen."""

    alert: Alert
    #: Since when it is trouble: its limit was passed then, or it happened.
    since: datetime
    summary: str
    description: str
    #: What to type next.
    command: str
    #: What tells it from others of its kind: target, migration, kind, run.
    about: dict[str, str] = field(default_factory=dict)
    #: Whom the target belongs to.
    contact: str = ""


def told(moment: datetime) -> str:
    """Return a moment as pages say it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def lasting(span: timedelta) -> str:
    """Return how long something has lasted, or may, as pages say it: "2 min 5 s"."""
    seconds = round(span.total_seconds())
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2]) or "0 s"
