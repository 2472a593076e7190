"""Checks as steps of a run: all files one by one for a validation, or in one step what a run has touched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.errors import StepbackError, TargetUnreachable
from ledger.model import Command, Json, Kind, Phase, StepRecord
from ledger.settings import TargetSettings
from worker import metrics
from worker.checks.files import CheckFile
from worker.checks.looking import Allowance, Check, Findings, Looking
from worker.commands import validate
from worker.fence import Holder
from worker.target import Session
from worker.work import Section

#: How long the checks after COMMIT may take altogether; a validation of its own takes its time.
_SECONDS: Final = 30.0
#: How many failed checks an audit event names.
_TOLD: Final = 100


@dataclass(frozen=True)
class Checking:
    """What it takes to look, and to say what was found."""

    session: Session
    command: Command
    target: TargetSettings
    #: Writes a step down.
    record: Callable[[StepRecord, dict[str, Json]], None]
    #: Writes an audit event: type, outcome, detail.
    event: Callable[[str, str, dict[str, Json]], None]
    at: Callable[[str], None]

    def everything(self, check_lease: Callable[[], None]) -> Mapping[str, Json]:
        """Look at all that a validation asks for, a file at a time; return what was found."""
        asked = validate.of_command(self.session, self.command, self.target)
        allowance, found = Allowance(self.target.statement_timeout_ms), [*asked.remarks]
        for file in asked.files:
            check_lease()
            found += self._step(file.step, Looking(self.session, asked.scope, allowance), (file,))
        return self._told(Findings(tuple(found)))

    def afterwards(self, holder: Holder) -> Mapping[str, Json]:
        """Look at what a run has touched, in one step; what does not hold is told, and undoes nothing.

        Raises:
            TargetUnreachable: It can be done by another attempt.
        """
        try:
            asked = validate.after_commit(self.session, self.command, holder, self.target)
        except TargetUnreachable:
            raise
        except StepbackError as error:
            asked = validate.nothing(error)
        allowance = Allowance(self.target.statement_timeout_ms, _SECONDS)
        return self._told(Findings(self._step("validate", Looking(self.session, asked.scope, allowance), asked.files)))

    def _step(self, step: str, looking: Looking, files: Sequence[CheckFile]) -> tuple[Check, ...]:
        began = time.monotonic()
        findings = Findings(tuple(check for file in files for check in looking.at(file)))
        self.at("finish_step_done")
        outcome = "failed" if findings.failed else "completed"
        section = Section.VERIFICATION if self.command.kind is Kind.ROLLBACK else None
        self.record(StepRecord(Phase.FINISH, step, outcome, time.monotonic() - began, section, findings.told()), {})
        self.at("finish_step_journaled")
        return findings.checks

    def _told(self, findings: Findings) -> Mapping[str, Json]:
        if findings.failed:
            named: list[Json] = [{"check": check.check, "count": check.count} for check in findings.failed[:_TOLD]]
            self.event("validation_failed", "failed", {"failed": len(findings.failed), "checks": named})
            metrics.VALIDATIONS_FAILED.labels(self.command.kind.value).inc()
            self.at("validation_journaled")
        return findings.result()
